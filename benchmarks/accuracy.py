"""Accuracy of an artifact from the outputs that it gives on the device itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.gate.outcomes import Result, SampleHashes
from edgepress.benchmarks.target import Session
from edgepress.compress.kernel.figures import OutputMetric

Array = NDArray[Any]
Batch = tuple[dict[str, Array], Any]


@dataclass(frozen=True)
class Judge:
    """What outputs are held against.

    Attributes:
        metric: Name of the metric.
        split: Which data it is measured on.
        batches: Gives, at each call from the start, batches of (inputs by name, targets).
        score: From the outputs (samples, …) of each output and all targets to the metric.
        total: Samples in all batches.
        output_names: The outputs in the order of `score`: an artifact's outputs of these names
            are put into it.
        order: From inputs and the outputs by name that an artifact gave for them to the names of
            its outputs in the order of `score`, where their names don't tell; None where nothing
            does.
        higher_is_better: The metric's direction, where known.
        outcomes: From the same as `score`, samples in the order of their hashes, to what became of
            each sample: first over all outputs where that can be told, then by output where there
            are several.
        figures: As `score`, the metric of each output; None where there is nothing but `score`.
        known: From a file's SHA-256 to the outputs by name that it gave on this machine, in a
            process of its own with one thread and no further options, for the samples of all
            batches; None where they aren't known. The batches are then alike at each call.
    """

    metric: str
    split: str
    batches: Callable[[], Iterable[Batch]]
    score: Callable[[list[Array], Any], float]
    total: int
    output_names: tuple[str, ...] = ()
    higher_is_better: bool | None = None
    outcomes: Callable[[list[Array], Any], Sequence[Result]] | None = None
    figures: Callable[[list[Array], Any], tuple[OutputMetric, ...]] | None = None
    known: Callable[[str], Mapping[str, Array] | None] | None = None
    order: Callable[[dict[str, Array], Mapping[str, Array]], Sequence[str]] | None = None

    @cached_property
    def truth(self) -> tuple[Any, SampleHashes]:
        """The targets and hashes of all samples."""
        targets, hashes = [], SampleHashes()
        for inputs, target in self.batches():
            targets.append(target)
            _add(hashes, inputs, target)
        return _join(targets), hashes


@dataclass(frozen=True)
class Judged:
    """How an artifact did.

    Attributes:
        metric: Name of the metric.
        split: Which data it was measured on.
        higher_is_better: The metric's direction, where known.
        value: The metric; None where it is no finite number.
        problem: Why there is no value.
        outcomes: By sample, in the order of the samples' hashes.
        metrics: The metric of each output; `value` is their headline.
    """

    metric: str
    split: str
    higher_is_better: bool | None = None
    value: float | None = None
    problem: str = ""
    outcomes: tuple[Result, ...] = ()
    metrics: tuple[OutputMetric, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Its fields of a row."""
        return {
            "metric": self.metric,
            "value": self.value,
            "split": self.split,
            "higher_is_better": self.higher_is_better,
            "value_problem": self.problem or None,
            "metrics": [vars(row) for row in self.metrics],
            "outcomes": [o.to_json() for o in self.outcomes],
        }


def judge(session: Session, by: Judge) -> Judged:
    """Run all samples on the device and score what comes back.

    Inputs, targets and hashes come from one pass over the data, which may shuffle.

    Args:
        session: The artifact on its device.
        by: Data and metric.

    Returns:
        The metric, and what became of each sample.

    Raises:
        DeviceError: The device failed.
    """
    outputs: list[list[Array]] = []
    targets: list[Any] = []
    hashes = SampleHashes()
    names: Sequence[str] = ()
    for inputs, target in by.batches():
        given = session.predict(inputs)
        names = names or _names(by, inputs, given)
        if not names:
            return _unpaired(by, given)
        outputs.append([given[name] for name in names])
        targets.append(target)
        _add(hashes, inputs, target)
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return _scored(by, joined, _join(targets), hashes)


def judge_known(given: Mapping[str, Array], by: Judge) -> Judged:
    """Score what a file gave before.

    Args:
        given: Its outputs by name, each (samples, …).
        by: Data and metric.
    """
    first = next(iter(by.batches()))[0]
    begin = len(next(iter(first.values())))
    names = _names(by, first, {name: values[:begin] for name, values in given.items()})
    if not names:
        return _unpaired(by, given)
    return _scored(by, [given[name] for name in names], *by.truth)


def _add(hashes: SampleHashes, inputs: Mapping[str, Array], target: Any) -> None:
    hashes.add([*(inputs[name] for name in sorted(inputs)), *_arrays(target)])


def _scored(by: Judge, joined: list[Array], truth: Any, hashes: SampleHashes) -> Judged:
    value = float(by.score(joined, truth))
    found = Judged(by.metric, by.split, by.higher_is_better)
    if not np.isfinite(value):
        return replace(found, problem=f"{by.metric} is {value}: outputs aren't finite numbers")
    order, name = hashes.order(), hashes.hexdigest()
    kept = by.outcomes([o[order] for o in joined], _reordered(truth, order)) if by.outcomes else ()
    return replace(
        found,
        value=value,
        outcomes=tuple(replace(o, samples_hash=name) for o in kept),
        metrics=by.figures(joined, truth) if by.figures else (),
    )


def _names(by: Judge, inputs: dict[str, Array], given: Mapping[str, Array]) -> Sequence[str]:
    """Names of an artifact's outputs in the order of the score; none where nothing tells it."""
    if len(given) == 1 or not by.output_names:
        return list(given)
    if set(by.output_names) == set(given):
        return by.output_names
    return by.order(inputs, given) if by.order is not None else ()


def _unpaired(by: Judge, given: Mapping[str, Array]) -> Judged:
    """What is said of outputs that nobody can tell apart: in the wrong order they score wrongly."""
    why = (
        f"{by.metric} isn't measured: the file's outputs are called {', '.join(given)}, the"
        f" model's {', '.join(by.output_names)}; give the model, which tells them apart"
    )
    return Judged(by.metric, by.split, by.higher_is_better, problem=why)


def _reordered(targets: Any, order: NDArray[np.int64]) -> Any:
    """Targets in another order."""
    if isinstance(targets, dict):
        return {name: np.asarray(t)[order] for name, t in targets.items()}
    if isinstance(targets, list | tuple):
        return [np.asarray(t)[order] for t in targets]
    return np.asarray(targets)[order]


def _arrays(targets: Any) -> list[Array]:
    """The arrays of a batch of targets."""
    if isinstance(targets, dict):
        return [np.asarray(targets[name]) for name in sorted(targets)]
    return [np.asarray(t) for t in (targets if isinstance(targets, list | tuple) else [targets])]


def _join(targets: list[Any]) -> Any:
    """Batches of targets as one: arrays, or lists or mappings of arrays."""
    head = targets[0]
    if isinstance(head, dict):
        return {name: np.concatenate([t[name] for t in targets]) for name in head}
    if isinstance(head, list | tuple):
        return [np.concatenate(parts) for parts in zip(*targets, strict=True)]
    return np.concatenate(targets)
