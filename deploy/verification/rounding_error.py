"""Why a file may differ from its source though its conversion is right.

Through a hundred layers of random weights the last bit of a float32 can grow to a thousandth of the
output. Any other order of additions, so any other runtime, then differs from Keras by as much, and
a file is not wrong for it. What tells is the same network in 64-bit floats.

A network that mixes the samples of a batch gives something else in every other batch, so that a
file with a batch of 1 can't agree with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgepress.deploy.differences.difference import departure
from edgepress.deploy.quantize.precision import PRECISIONS
from edgepress.deploy.sources.keras_outputs import run_source

if TYPE_CHECKING:
    import keras

Outputs = list[NDArray[Any]]
_ENOUGH = 64
_FEW = 8
# A source's own outputs come again up to this share; a stand-in's don't.
_SAME = 0.01


def own_rounding(
    model: keras.Model, chunks: Iterator[dict[str, NDArray[Any]]], outputs: Outputs
) -> float:
    """Largest difference of a model's outputs to those in 64-bit floats, over its largest output.

    Args:
        model: A Keras model that computes in 32-bit floats.
        chunks: Samples by input name; up to 64 of the first chunk are looked at.
        outputs: What the source gave for them, each (n, …).

    Returns:
        The largest over all outputs; 0 where the model can't be computed in 64 bits, or where it
        only stands for a file and doesn't give `outputs`.
    """
    from edgepress.deploy.lowerings.float_types import in_double_precision

    exact = in_double_precision(model)
    if exact is None:
        return 0.0
    samples = {name: values[:_ENOUGH] for name, values in next(chunks).items()}
    doubled = {
        tensor.name: samples[given.name].astype(str(tensor.dtype))
        for given, tensor in zip(model.inputs, exact.inputs, strict=True)
    }
    wanted, rounded = _run(exact, doubled), _run(model, samples)
    count = len(next(iter(samples.values())))
    if not wanted or not rounded:
        return 0.0
    if _furthest(rounded, [o[:count] for o in outputs]) > _SAME:
        return 0.0
    return _furthest(rounded, wanted)


def mixes_samples(model: keras.Model, chunks: Iterator[dict[str, NDArray[Any]]]) -> float:
    """How far one sample's outputs depend on the others of its batch.

    Args:
        model: A Keras model.
        chunks: Samples by input name; up to 8 of the first chunk are looked at.

    Returns:
        Largest difference between a sample in a batch and alone, over the largest output; 0 where
        the model only stands for a file.
    """
    samples = {name: values[:_FEW] for name, values in next(chunks, {}).items()}
    together, alone = _run(model, samples), _run(model, samples, batch_size=1)
    return _furthest(alone, together) if together and alone else 0.0


def _run(
    model: keras.Model, samples: dict[str, NDArray[Any]], batch_size: int = _ENOUGH
) -> Outputs:
    """A model's outputs; none where it can't run so: it stands for a file, or has a fixed batch."""
    try:
        return run_source(model, iter([samples]), batch_size)
    except Exception:
        return []


def _furthest(some: Sequence[NDArray[Any]], others: Sequence[NDArray[Any]]) -> float:
    """The largest error of some outputs, or of their small slices, against others."""
    pairs = zip(some, others, strict=True)
    return max((departure(a, b, PRECISIONS["float32"]) for a, b in pairs), default=0.0)
