"""Accuracy of an artifact from the outputs that it gives on the device itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.target import Session

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
    """

    metric: str
    split: str
    batches: Callable[[], Iterable[Batch]]
    score: Callable[[list[Array], Any], float]
    total: int


def judge(session: Session, by: Judge) -> float:
    """Run all samples on the device and score what comes back.

    Args:
        session: The artifact on its device.
        by: Data and metric.

    Returns:
        The metric.

    Raises:
        DeviceError: The device failed.
    """
    outputs: list[list[Array]] = []
    targets: list[Any] = []
    for inputs, target in by.batches():
        outputs.append(list(session.predict(inputs).values()))
        targets.append(target)
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return by.score(joined, _join(targets))


def _join(targets: list[Any]) -> Any:
    """Batches of targets as one: arrays, or lists or mappings of arrays."""
    head = targets[0]
    if isinstance(head, dict):
        return {name: np.concatenate([t[name] for t in targets]) for name in head}
    if isinstance(head, list | tuple):
        return [np.concatenate(parts) for parts in zip(*targets, strict=True)]
    return np.concatenate(targets)
