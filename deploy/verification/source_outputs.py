"""What a source gives for some samples, computed once, and what a file gives beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.dataset import Dataset, Split
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.passes import Passes
from edgepress.compress.data.tasks import Task, output_names
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.deploy.differences.slices import Slices, shares_unit, small_slices
from edgepress.deploy.sources.keras_outputs import Arrays, Outputs, chunk_size, run_source
from edgepress.deploy.sources.sample_inputs import plausible_inputs
from edgepress.deploy.verification.decisions import Decision, decision_of

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class SourceOutputs:
    """What a source gives for some samples: computed once, compared with many artifacts.

    Attributes:
        model: The Keras model, or the one with the source's signature.
        feed: Gives the samples again, in chunks by input name; a large split is never in memory.
        outputs: The model's outputs, each (n, …).
        targets: What the task wants, or None without data.
        task: The task, or None without data.
        split: Name of the data's split, or None.
        metrics: The task's metric of each output on these samples; none without data.
        class_names: Names of the classes, where the data has them.
        whole: The split, where all of its samples are fed in stored order.
        on_random: From sizes by input name, where the model leaves them free, to the same for
            random inputs, where the samples are of data; else None.
        still: By input name the share of its values that is the same for all samples of data.
    """

    model: Any
    feed: Callable[[], Iterator[Arrays]]
    outputs: Outputs
    targets: Any = None
    task: Task | None = None
    split: str | None = None
    metrics: tuple[OutputMetric, ...] = ()
    class_names: tuple[str, ...] = ()
    whole: Split | None = None
    on_random: Callable[[Mapping[str, tuple[int, ...]]], SourceOutputs] | None = None
    still: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The task's one metric on these samples, or None without data."""
        return self.task.headline_of(self.metrics) if self.task else None

    @cached_property
    def rounding(self) -> float:
        """How far the source's own rounding carries; see `own_rounding`. Measured on first use."""
        from edgepress.deploy.verification.rounding_error import own_rounding

        return own_rounding(self.model, self.feed(), self.outputs)

    @cached_property
    def mixing(self) -> float:
        """How far the source mixes samples; see `mixes_samples`. Measured on first use."""
        from edgepress.deploy.verification.rounding_error import mixes_samples

        return mixes_samples(self.model, self.feed())


def gather(
    model: keras.Model,
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
    seen = _Spans()
    if dataset is None:
        inputs = plausible_inputs(model, samples or 64, seed, shapes)
        return SourceOutputs(model, lambda: iter([inputs]), run(iter([inputs])))
    split, task = dataset.report_split, dataset.task
    whole = None
    if samples is not None and samples < split.size:
        inputs, targets = split.sample(samples, seed)
        outputs = run(seen.watched(iter([inputs])))
        feed: Callable[[], Iterator[Arrays]] = lambda: iter([inputs])  # noqa: E731
    else:
        whole, passes = split, Passes(split, chunk_size(model))
        feed = lambda: (inputs for inputs, _ in passes)  # noqa: E731
        outputs, targets = _run_beside_targets(lambda given: run(seen.watched(given)), passes)
    return SourceOutputs(
        model, feed, outputs, targets, task, split.name, task.figures(outputs, targets),
        tuple(dataset.class_names), whole, _drawn_once(partial(gather, model, run=run), seed),
        seen.still(),
    )  # fmt: skip


def _drawn_once(
    draw: Callable[..., SourceOutputs], seed: int
) -> Callable[[Mapping[str, tuple[int, ...]]], SourceOutputs]:
    """Random inputs of some sizes, drawn and given to the source once for all files."""
    known: dict[tuple[tuple[str, tuple[int, ...]], ...], SourceOutputs] = {}

    def on_random(shapes: Mapping[str, tuple[int, ...]]) -> SourceOutputs:
        key = tuple(sorted(shapes.items()))
        if key not in known:
            known[key] = draw(dataset=None, seed=seed, shapes=shapes)
        return known[key]

    return on_random


class _Spans:
    """The least and the largest of each value of inputs that pass by."""

    def __init__(self) -> None:
        self._ends: dict[str, tuple[Array, Array]] = {}

    def watched(self, chunks: Iterator[Arrays]) -> Iterator[Arrays]:
        """The same chunks, looked at."""
        for chunk in chunks:
            for name, values in chunk.items():
                self._see(name, np.asarray(values))
            yield chunk

    def _see(self, name: str, values: Array) -> None:
        if values.dtype.kind not in "fiub" or not len(values):
            return
        low, high = values.min(0), values.max(0)
        if name in self._ends and self._ends[name][0].shape == low.shape:
            before = self._ends[name]
            low, high = np.minimum(before[0], low), np.maximum(before[1], high)
        self._ends[name] = low, high

    def still(self) -> dict[str, float]:
        """By input name the share of values that were always the same."""
        return {name: float(np.mean(low == high)) for name, (low, high) in self._ends.items()}


def _run_beside_targets(
    run: Callable[[Iterator[Arrays]], Outputs], passes: Passes
) -> tuple[Outputs, Any]:
    """Outputs and targets of one and the same pass."""
    import tensorflow as tf

    parts: list[Any] = []

    def inputs() -> Iterator[Arrays]:
        for given, targets in passes:
            parts.append(targets)
            yield given

    outputs = run(inputs())
    return outputs, tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


@dataclasses.dataclass(frozen=True)
class PairedOutput:
    """One output of source and file.

    Attributes:
        name: The output.
        want: (n, …) what the source gives.
        have: (n, …) what the file gives.
        whole: Whether the source gives whole numbers.
        decision: What it decides.
        slices: Slices with ranges of their own.
        one_unit: Whether a slice of a small range means nothing, see `differences.slices`.
    """

    name: str
    want: Array
    have: Array
    whole: bool
    decision: Decision
    slices: tuple[Slices, ...]
    one_unit: bool


def paired_outputs(source: SourceOutputs, got: list[Array]) -> list[PairedOutput]:
    """The outputs of a source and of a file.

    Args:
        source: The source's samples and outputs.
        got: The file's outputs, in the source's order and shapes.
    """
    found: list[PairedOutput] = []
    tensors = list(getattr(source.model, "outputs", None) or [None] * len(got))
    for index, (name, w, g) in enumerate(zip(_names(source), source.outputs, got, strict=True)):
        want = w.astype(np.float64)
        part = source.task.outputs[index] if source.task else None
        decision = decision_of(part, w)
        one_unit = (
            decision.kind == "numbers"
            or (source.task is not None and decision.kind in ("classes", "labels"))
            or shares_unit(tensors[index])
        )
        slices = () if one_unit else small_slices(want)
        if slices and source.task is None:
            decision = Decision("values")
        found.append(
            PairedOutput(
                name, want, g.astype(np.float64), w.dtype.kind != "f", decision, slices, one_unit
            )
        )
    return found


def _names(source: SourceOutputs) -> tuple[str, ...]:
    if source.task is not None:
        return source.task.output_names
    if getattr(source.model, "outputs", None):
        return output_names(source.model)
    return tuple(f"output {i}" for i in range(len(source.outputs)))


def scored_outputs(
    source: SourceOutputs, outputs: list[PairedOutput]
) -> Iterator[tuple[PairedOutput, OutputTask, Any]]:
    """Outputs that targets say something of, with what they are asked for; none without data.

    Targets that mean something to a loss alone say nothing here.
    """
    task = source.task
    if task is None or source.targets is None:
        return
    targets = task.target_list(source.targets)
    for output, part, target in zip(outputs, task.outputs, targets, strict=True):
        if part.scored and part.kind != "own" and target is not None:
            yield output, part, target
