"""Whether an artifact computes what its source computes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtime import Runtime
from edgepress.compress.artifact import Agreement, Artifact, TensorSpec
from edgepress.compress.data.dataset import Dataset, Split
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError
from edgepress.deploy.exporters.plausible import plausible_inputs
from edgepress.deploy.pairing import Pairing, pair_inputs, pair_outputs
from edgepress.deploy.quantize.precision import PRECISIONS, Precision

Arrays = dict[str, NDArray[Any]]
Outputs = list[NDArray[Any]]
_CHUNK_BYTES = 32_000_000
# A file departs from its source by the rounding of both, seen 1.8 times that of one; what
# differs by more than a hundredth is wrong, however a network rounds.
_ROUNDINGS = 4
ROUNDING_LIMIT = 0.01


def verify(
    model: Any,
    artifact: Artifact | Path | str,
    data: Any = None,
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
        DeviceError: The runtime refuses the file or crashes.
    """
    from edgepress.compress.data import open_data
    from edgepress.deploy.foreign.opening import open_file
    from edgepress.deploy.source import as_exported, open_source

    path = artifact.path if isinstance(artifact, Artifact) else Path(artifact)
    source, _ = as_exported(open_source(model))
    model, file = source.model, open_file(path)
    with file.runtime(threads) as runtime:
        inputs, outputs = runtime.tensors()
        if precision is None:
            given = artifact.quantize if isinstance(artifact, Artifact) else None
            precision = coarser(given or file.precision, source.precision)
        dataset = None if data is None else open_data(data, model, seed)
        shapes = shapes_of(model, inputs)
        gathered = gather(model, dataset, samples, seed, shapes, source.run)
        return compare(gathered, runtime, inputs, outputs, PRECISIONS[precision])


def coarser(one: str, other: str) -> str:
    """The precision of two that explains the larger differences."""
    return max((one, other), key=lambda name: PRECISIONS[name].tolerance)


@dataclasses.dataclass(frozen=True)
class SourceOutputs:
    """What a source gives for some samples: computed once, compared with many artifacts.

    Attributes:
        model: The Keras model, or the one with the source's signature.
        feed: Gives the samples anew, in chunks by input name; a large split is never in memory.
        outputs: The model's outputs, each (n, …).
        targets: What the task wants, or None without data.
        task: The task, or None without data.
        split: Name of the data's split, or None.
        value: The task's metric on these samples, or None.
    """

    model: Any
    feed: Callable[[], Iterator[Arrays]]
    outputs: Outputs
    targets: Any = None
    task: Task | None = None
    split: str | None = None
    value: float | None = None

    @cached_property
    def rounding(self) -> float:
        """How far the source's own rounding carries; see `own_rounding`. Measured on first use."""
        from edgepress.deploy.departures import own_rounding

        return own_rounding(self.model, self.feed(), self.outputs)

    @cached_property
    def mixing(self) -> float:
        """How far the source mixes samples; see `mixes_samples`. Measured on first use."""
        from edgepress.deploy.departures import mixes_samples

        return mixes_samples(self.model, self.feed())


def gather(
    model: Any,
    dataset: Dataset | None,
    samples: int | None = None,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    run: Callable[[Iterator[Arrays]], Outputs] | None = None,
) -> SourceOutputs:
    """Run the source on the samples that artifacts are compared on.

    Args:
        model: The Keras model.
        dataset: The data, or None for random inputs.
        samples: How many; None for 64 random ones, or all of the data's report split.
        seed: Draws them.
        shapes: Sizes by input name, where the model leaves sizes free.
        run: Gives the outputs; the model itself does by default.
    """
    run = run or partial(run_source, model)
    if dataset is None:
        inputs = plausible_inputs(model, samples or 64, seed, shapes)
        return SourceOutputs(model, lambda: iter([inputs]), run(iter([inputs])))
    split, task = dataset.report_split, dataset.task
    if samples is not None and samples < split.size:
        inputs, targets = split.sample(samples, seed)
        outputs = run(iter([inputs]))
        feed: Callable[[], Iterator[Arrays]] = lambda: iter([inputs])  # noqa: E731
    else:
        chunk = chunk_size(model)
        targets = targets_of(split, chunk)
        feed = lambda: chunks_of(model, split, chunk)  # noqa: E731
        outputs = run(feed())
    return SourceOutputs(
        model, feed, outputs, targets, task, split.name, task.score(outputs, targets)
    )


def chunk_size(model: Any) -> int:
    """Samples that fill about 32 MB."""
    sizes = [[s or 32 for s in tensor.shape[1:]] for tensor in model.inputs]
    return int(np.clip(_CHUNK_BYTES // max(4 * sum(math.prod(s) for s in sizes), 1), 16, 4096))


def chunks_of(model: Any, split: Split, size: int) -> Iterator[Arrays]:
    """All samples of a split in stored order, in chunks by input name."""
    names = [tensor.name for tensor in model.inputs]
    for inputs, _ in split.in_order(size).as_numpy_iterator():
        yield inputs if isinstance(inputs, dict) else {names[0]: inputs}


def targets_of(split: Split, size: int) -> Any:
    """All targets of a split in stored order."""
    import tensorflow as tf

    parts = [targets for _, targets in split.in_order(size).as_numpy_iterator()]
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def run_source(model: Any, chunks: Iterator[Arrays], batch_size: int = 128) -> Outputs:
    """Outputs of a Keras model in its order, each (n, …)."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def infer(tensors: Any) -> Any:
        return tf.nest.flatten(model(_structured(model, tensors), training=False))

    parts = []
    for chunk in chunks:
        ordered = [chunk[tensor.name] for tensor in model.inputs]
        for begin in range(0, len(ordered[0]), batch_size):
            given = [tf.constant(a[begin : begin + batch_size]) for a in ordered]
            parts.append([t.numpy() for t in infer(given)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _structured(model: Any, tensors: Any) -> Any:
    import tensorflow as tf

    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return tf.nest.pack_sequence_as(structure, tensors)
    return tensors[0] if len(tensors) == 1 else tensors


def compare(
    source: SourceOutputs,
    runtime: Runtime,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    precision: Precision,
) -> Agreement:
    """Run an artifact on the source's samples and judge the difference."""
    pairing = pair_inputs(source.model, inputs)
    parts = [runtime.predict(pairing.apply(chunk)) for chunk in source.feed()]
    by_name = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    got = pair_outputs(source.model, source.outputs, outputs, by_name)
    return judge(source, got, precision)


def judge(source: SourceOutputs, got: Outputs, precision: Precision) -> Agreement:
    """The verdict on an artifact's outputs.

    Args:
        source: The source's samples and outputs.
        got: The artifact's outputs, in the source's order and shapes.
        precision: Sets the bounds.

    Raises:
        InputError: The source's outputs are empty.
    """
    if any(w.size == 0 for w in source.outputs):
        raise InputError("the model's output holds no values: there is nothing to compare")
    want = [w.astype(np.float64) for w in source.outputs]
    have = [g.astype(np.float64) for g in got]
    differences = [np.abs(h - w) for h, w in zip(have, want, strict=True)]
    whole = [w.dtype.kind != "f" for w in source.outputs]
    error = max(
        _bounded(d, w, is_whole, precision)
        for d, w, is_whole in zip(differences, want, whole, strict=True)
    )
    value = None
    finite = all(np.isfinite(h).all() for h in have)
    if source.task is not None and finite:
        value = source.task.score(got, source.targets)
    tolerance = _tolerance(source, precision, error)
    reason = _reason(source, precision, error, value, tolerance) if finite else _endless(precision)
    largest = max(float(d.max(initial=0)) for d in differences)
    return Agreement(
        passed=not reason,
        max_abs_error=_json_safe(largest),
        mean_abs_error=_json_safe(float(np.mean(np.concatenate([d.ravel() for d in differences])))),
        agreement=_agreement(source, have, want, tolerance),
        tolerance=tolerance,
        samples=len(want[0]),
        metric=source.task.metric if source.task else None,
        split=source.split,
        value=value,
        source_value=source.value,
        reason=reason,
    )


def departure(got: NDArray[Any], want: NDArray[Any], precision: Precision) -> float:
    """How far one output is from what it should be.

    Args:
        got: The output.
        want: What it should be, of the same shape.
        precision: Says in which unit.

    Returns:
        The error that the precision bounds; infinite where the output is no number.
    """
    exact = want.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - exact)
    return _bounded(difference, exact, want.dtype.kind != "f", precision)


def _bounded(
    difference: NDArray[Any], want: NDArray[Any], whole: bool, precision: Precision
) -> float:
    """The error of an output; none where it holds whole numbers of which nearly all are equal."""
    if whole and _same_choices(difference, precision):
        return 0.0
    return _relative(difference, want, precision)


def _same_choices(difference: NDArray[Any], precision: Precision) -> bool:
    """Whether nearly all whole numbers are equal.

    Of the indices that an argmax gives, how far apart two are says nothing.
    """
    return float(difference.astype(bool).mean()) <= precision.max_drop


def _endless(precision: Precision) -> str:
    why = ": 16-bit floats end at 65,504" if precision.name == "float16" else ""
    return f"its outputs hold NaN or infinity{why}"


def _json_safe(number: float) -> float:
    """NaN and infinity as the largest float: JSON has neither."""
    return number if np.isfinite(number) else float(np.finfo(np.float32).max)


def largest_error(difference: NDArray[Any], want: NDArray[Any]) -> float:
    """The largest difference over the largest output; infinite where one is no number."""
    error = float(difference.max(initial=0)) / _largest(want)
    return error if np.isfinite(error) else float("inf")


def _relative(difference: NDArray[Any], want: NDArray[Any], precision: Precision) -> float:
    """The error that the precision bounds, in units of the source's outputs."""
    if precision.bounded == "largest":
        return largest_error(difference, want)
    # Outputs that hardly vary would make any rounding look large.
    spread = max(float(np.std(want)), 0.05 * _largest(want))
    error = float(np.sqrt(np.mean(np.square(difference)))) / spread
    return error if np.isfinite(error) else float("inf")


def _largest(want: NDArray[Any]) -> float:
    return max(float(np.abs(want).max(initial=0)), 1e-7)


def _tolerance(source: SourceOutputs, precision: Precision, error: float) -> float:
    """The bound on an error: wider where the source's own rounding is what exceeds it."""
    bound = precision.tolerance
    if precision.bounded != "largest" or not bound < error <= ROUNDING_LIMIT:
        return bound
    return min(max(bound, _ROUNDINGS * source.rounding), ROUNDING_LIMIT)


def _reason(
    source: SourceOutputs,
    precision: Precision,
    error: float,
    value: float | None,
    tolerance: float,
) -> str:
    """Why an artifact without NaN fails, empty if it passes."""
    if error > tolerance:
        # Mixing is asked first: the rounding takes a copy of the whole model.
        if source.mixing > ROUNDING_LIMIT and source.mixing > _ROUNDINGS * source.rounding:
            return (
                "the model mixes the samples of a batch: alone a sample gives another output, by"
                f" up to {source.mixing:.3g} of the largest"
            )
        what = "largest difference" if precision.bounded == "largest" else "noise"
        return (
            f"{what} {error:.3g} of the source's outputs, {precision.name} explains at most"
            f" {tolerance:.3g}"
        )
    task = source.task
    if task is None or value is None or source.value is None or not task.higher_is_better:
        return ""
    if task.drop(source.value, value) > precision.max_drop:
        return (
            f"{task.metric} is {value:.4f}, the source has {source.value:.4f}: rounding to"
            f" {precision.name} explains at most {precision.max_drop:g}"
        )
    return ""


def _agreement(source: SourceOutputs, have: Outputs, want: Outputs, tolerance: float) -> float:
    """Share of samples with the same decision, or for values within the tolerance."""
    kind = source.task.kind if source.task else None
    if kind in ("binary", "multi-label"):
        logits = source.task.logits[0] if source.task else False
        threshold = 0.0 if logits else 0.5
        same = (have[0] > threshold) == (want[0] > threshold)
        return float(same.reshape(len(same), -1).all(1).mean())
    if source.outputs[0].dtype.kind != "f":
        return float((have[0] == want[0]).mean())
    classes = want[0].ndim >= 2 and want[0].shape[-1] > 1
    if kind == "classification" or (kind is None and want[0].ndim == 2 and classes):
        return float((have[0].argmax(-1) == want[0].argmax(-1)).mean())
    bound = tolerance * _largest(want[0])
    worst = np.abs(have[0] - want[0]).reshape(len(want[0]), -1).max(1)
    return float((worst <= bound).mean())


def shapes_of(model: Any, inputs: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Sizes that an artifact fixes where its source leaves them free, by the source's names."""
    pairing: Pairing = pair_inputs(model, inputs)
    found = {}
    for tensor, spec in zip(model.inputs, pairing.specs, strict=True):
        sizes = spec.shape[1:]
        if None in tensor.shape[1:] and None not in sizes:
            found[tensor.name] = tuple(int(s) for s in sizes if s is not None)
    return found
