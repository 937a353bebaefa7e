"""Accuracy of an artifact from the outputs that it gives on the device itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.target import Session
from edgepress.compress.figures import OutputMetric

Array = NDArray[Any]
Batch = tuple[dict[str, Array], Any]


@dataclass(frozen=True)
class Judge:
    """What outputs are held against.

    Attributes:
        metric: Name of the metric.
        split: Which data it is measured on.
        batches: Gives, anew at each call, batches of (inputs by name, targets).
        score: From the outputs (samples, …) of each output and all targets to the metric.
        total: Samples in all batches.
        figures: As `score`, the metric of each output; None where there is nothing but `score`.
        output_names: The outputs in the order that the scores take them: an artifact's outputs of
            these names are put into it, others keep their own.
    """

    metric: str
    split: str
    batches: Callable[[], Iterable[Batch]]
    score: Callable[[list[Array], Any], float]
    total: int
    figures: Callable[[list[Array], Any], tuple[OutputMetric, ...]] | None = None
    output_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """What an artifact was found to be worth.

    Attributes:
        value: The metric.
        metrics: The metric of each output.
    """

    value: float
    metrics: tuple[OutputMetric, ...] = ()


def judge(session: Session, by: Judge) -> Judged:
    """Run all samples on the device and score what comes back.

    Args:
        session: The artifact on its device.
        by: Data and metric.

    Returns:
        The metric, over all and by output.

    Raises:
        DeviceError: The device failed.
    """
    outputs: list[list[Array]] = []
    targets: list[Any] = []
    for inputs, target in by.batches():
        outputs.append(_ordered(session.predict(inputs), by.output_names))
        targets.append(target)
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    held = _join(targets)
    return Judged(by.score(joined, held), by.figures(joined, held) if by.figures else ())


def _ordered(outputs: dict[str, Array], names: Sequence[str]) -> list[Array]:
    """Outputs in the order of some names, as they are where the names are others."""
    if set(names) == outputs.keys():
        return [outputs[name] for name in names]
    return list(outputs.values())


def _join(targets: list[Any]) -> Any:
    """Batches of targets as one: arrays, or lists or mappings of arrays."""
    head = targets[0]
    if isinstance(head, dict):
        return {name: np.concatenate([t[name] for t in targets]) for name in head}
    if isinstance(head, list | tuple):
        return [np.concatenate(parts) for parts in zip(*targets, strict=True)]
    return np.concatenate(targets)
