"""Whether an artifact computes what its source computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.kernel.artifact import Agreement, Artifact, TensorSpec
from edgepress.compress.kernel.files import sha256
from edgepress.deploy.quantize.precision import PRECISIONS, Precision
from edgepress.deploy.verification.evidence import varies
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.known_outputs import remember
from edgepress.deploy.verification.source_outputs import SourceOutputs, gather
from edgepress.deploy.verification.tensor_matching import (
    Pairing,
    crossed,
    output_order,
    pair_inputs,
    pair_outputs,
)

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import ModelLike
    from edgepress.compress.typing import DataLike
    from edgepress.deploy.sources.source import Source

# Of an input of which more is the same for all samples, these say too little.
_STILL = 0.1


def verify(
    model: Source | ModelLike,
    artifact: Artifact | Path | str,
    data: DataLike | None = None,
    *,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Agreement:
    """Compare an artifact with its source on the same samples.

    The artifact runs in its own runtime (LiteRT, ONNX Runtime, TensorFlow), in a child process;
    so does a source that is no Keras model.

    Args:
        model: The source: a Keras model, or what `open_source` takes.
        artifact: What `export` gave, a `.tflite` or `.onnx` file, or a SavedModel folder.
        data: Data to compare on (its test split, else its validation split); without it, random
            inputs in a plausible range are compared and no metric is measured.
        precision: How the file stores numbers, which sets the tolerance; by default read from the
            file, or from its source where that is the coarser one.
        samples: How many are compared; without data 64 by default, with data all.
        seed: Draws the samples.
        threads: Threads of the runtime.

    Returns:
        The comparison; `passed` is its verdict.

    Raises:
        InputError: The file's inputs or outputs aren't those of the model.
        FileRefused: The runtime refuses the file, or crashes with it.
        DeviceError: The runtime is not there, or too slow.
    """
    from edgepress.compress.data import open_data
    from edgepress.deploy.sources.model_files import open_file
    from edgepress.deploy.sources.opening import open_source
    from edgepress.deploy.sources.source import as_exported, taking

    path = artifact.path if isinstance(artifact, Artifact) else Path(artifact)
    given = open_source(model)
    source, _ = as_exported(given)
    file = open_file(path)
    dataset = None if data is None else source.fed(open_data(data, given.model, seed))
    with file.runtime(threads) as runtime:
        inputs, outputs = runtime.tensors()
        if precision is None:
            said = artifact.quantize if isinstance(artifact, Artifact) else None
            precision = coarser(said or file.precision, source.precision)
        source, dataset = taking(source, dataset, inputs)
        model, shapes = source.model, shapes_of(source.model, inputs)
        gathered = gather(model, dataset, samples, seed, shapes, source.run)
        return compare(gathered, runtime, inputs, outputs, PRECISIONS[precision])


def coarser(one: str, other: str) -> str:
    """The precision of two that explains the larger differences."""
    return max((one, other), key=lambda name: PRECISIONS[name].tolerance)


def compare(
    source: SourceOutputs,
    runtime: Runtime,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    precision: Precision,
) -> Agreement:
    """Run an artifact on the source's samples and judge the difference; see `held_on_random`."""
    by_name = outputs_of(source, runtime, inputs)
    if source.whole is not None and runtime.is_plain:
        remember(source.whole, sha256(runtime.path), by_name)
    found = judged(source, outputs, by_name, precision)
    return held_on_random(
        found,
        source,
        shapes_of(source.model, inputs),
        precision,
        lambda drawn: judged(drawn, outputs, outputs_of(drawn, runtime, inputs), precision),
    )


def judged(
    source: SourceOutputs,
    outputs: tuple[TensorSpec, ...],
    by_name: Mapping[str, NDArray[Any]],
    precision: Precision,
) -> Agreement:
    """The verdict on what an artifact gave by its own names."""
    got = pair_outputs(source.model, source.outputs, outputs, by_name)
    found = judge(source, got, precision)
    order = output_order(source.model, source.outputs, outputs, by_name)
    pairs = crossed(source.model, order, outputs)
    if not pairs:
        return found
    told = ", ".join(f"'{name}' is its '{other}'" for name, other in pairs)
    doubt = f"the file names and orders its outputs otherwise; by their values {told}"
    return replace(found, doubts=(*found.doubts, doubt))


def held_on_random(
    found: Agreement,
    source: SourceOutputs,
    shapes: Mapping[str, tuple[int, ...]],
    precision: Precision,
    answer: Callable[[SourceOutputs], Agreement],
) -> Agreement:
    """A verdict, held against random inputs too where the samples of data show little.

    They do where the source gives the same for all of them, or where a part of an input is the same
    in all of them: of a file that doesn't look at it they show nothing. Files in integers are
    calibrated for the data alone, so that this is said of them, not tried.

    Args:
        found: The verdict on the samples.
        source: The source on them.
        shapes: Sizes by input name that the file fixes.
        precision: Of the file.
        answer: Gives the verdict on others.
    """
    if source.on_random is None or not found.passed:
        return found
    still = {name: share for name, share in source.still.items() if share > _STILL}
    if varies(source.outputs) and not still:
        return found
    if precision.bounded == "largest":
        # What is made up may be nothing that the model, or layers of the user's own, can take.
        with suppress(Exception):
            drawn = source.on_random(shapes)
            if all(np.isfinite(want).all() for want in drawn.outputs):
                beside = answer(drawn)
                reason = "" if beside.passed else f"on random inputs, {beside.reason}"
                return replace(found, passed=beside.passed, reason=reason)
    told = tuple(
        f"{share:.0%} of the values of input '{name}' are the same for all {found.samples} samples:"
        " what the file makes of others wasn't seen"
        for name, share in still.items()
    )
    return replace(found, doubts=(*found.doubts, *told))


def outputs_of(
    source: SourceOutputs,
    runtime: Runtime,
    inputs: tuple[TensorSpec, ...],
    tensors: Mapping[str, str] | None = None,
) -> dict[str, NDArray[Any]]:
    """What an artifact gives for the source's samples.

    Args:
        source: The source's samples.
        runtime: Runs the artifact.
        inputs: The artifact's inputs.
        tensors: Names of tensors by those of the signature, for a runtime that knows them alone.

    Returns:
        (n, …) arrays by the signature's names.
    """
    called = tensors or {}
    back = {tensor: name for name, tensor in called.items()}
    pairing = pair_inputs(source.model, inputs)
    parts = [
        runtime.predict({called.get(k, k): x for k, x in pairing.apply(chunk).items()})
        for chunk in source.feed()
    ]
    return {back.get(key, key): np.concatenate([p[key] for p in parts]) for key in parts[0]}


def shapes_of(model: keras.Model, inputs: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Sizes that an artifact fixes where its source leaves them free, by the source's names."""
    pairing: Pairing = pair_inputs(model, inputs)
    found = {}
    for tensor, spec in zip(model.inputs, pairing.specs, strict=True):
        sizes = spec.shape[1:]
        if None in tensor.shape[1:] and None not in sizes:
            found[tensor.name] = tuple(int(s) for s in sizes if s is not None)
    return found
