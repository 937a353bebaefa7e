"""Why a file may depart from its source though its conversion is right.

Through a hundred layers of random weights the last bit of a float32 can grow to a thousandth of the
output. Any other order of additions, so any other runtime, then departs from Keras by as much, and
a file is not wrong for it. What tells is the same network in 64-bit floats.

A network that mixes the samples of a batch gives something else in every other batch, so that a
file with a batch of 1 can't agree with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outputs = list[NDArray[Any]]
_ENOUGH = 64
_FEW = 8
# A source's own outputs come again up to this share; a stand-in's don't.
_SAME = 0.01


def own_rounding(model: Any, chunks: Iterator[dict[str, NDArray[Any]]], outputs: Outputs) -> float:
    """Largest difference of a model's outputs to those in 64-bit floats, over its largest output.

    Args:
        model: A Keras model that computes in 32-bit floats.
        chunks: Samples by input name; up to 64 of the first chunk are looked at.
        outputs: What the source gave for them, each (n, …).

    Returns:
        The largest over all outputs; 0 where the model can't be computed in 64 bits, or where it
        only stands for a file and doesn't give `outputs`.
    """
    from edgepress.deploy.exporters.float_types import in_double_precision

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
    if largest_share(rounded, [o[:count] for o in outputs]) > _SAME:
        return 0.0
    return largest_share(rounded, wanted)


def mixes_samples(model: Any, chunks: Iterator[dict[str, NDArray[Any]]]) -> float:
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
    return largest_share(alone, together) if together and alone else 0.0


def _run(model: Any, samples: dict[str, NDArray[Any]], batch_size: int = _ENOUGH) -> Outputs:
    """A model's outputs; none where it can't run so: it stands for a file, or has a fixed batch."""
    from edgepress.deploy.verifying import run_source

    try:
        return run_source(model, iter([samples]), batch_size)
    except Exception:
        return []


def largest_share(some: Sequence[NDArray[Any]], others: Sequence[NDArray[Any]]) -> float:
    """Largest difference of arrays over the largest value of its array; infinite with NaN."""
    shares = [_share(a.astype(np.float64), b) for a, b in zip(some, others, strict=True)]
    return max(shares, default=0.0)


def _share(one: NDArray[Any], other: NDArray[Any]) -> float:
    share = np.abs(one - other).max(initial=0) / max(np.abs(other).max(initial=0), 1e-7)
    return float(share) if np.isfinite(share) else float("inf")
