"""Whether a model does better than one that always gives the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Split, Task

Array = NDArray[Any]

# Targets that are looked at where the classes aren't known without reading the samples.
_SAMPLES = 1000
_ERRORS = ("mae", "mse", "rmse")
# Of a constant's error: what is no better, and what is clearly better.
_NO_BETTER, _CLEARLY_BETTER = 0.98, 0.7
# Points of accuracy above chance, and standard errors above validation, that training must reach.
_POINTS, _APART = 0.1, 3.0
# Share of the loss that must go where training has no metric.
_FALL = 0.3


@dataclass(frozen=True)
class Chance:
    """What the best constant answer scores on a split.

    Attributes:
        metric: The task's metric by name: accuracy, or an error.
        value: The score.
        samples: How many samples it is taken over.
    """

    metric: str
    value: float
    samples: int

    @property
    def error(self) -> float:
        """Standard error of an accuracy at chance; 0 for errors of values."""
        if self.metric in _ERRORS:
            return 0.0
        return float(np.sqrt(self.value * (1 - self.value) / max(self.samples, 1)))

    def explains(self, values: Sequence[float]) -> bool:
        """Whether scores of a model, one or several in a row, are no better than chance."""
        if self.metric in _ERRORS:
            return min(values) >= _NO_BETTER * self.value
        most, usual = max(values), float(np.median(values))
        # A constant answer has exactly this value; what varies around it is rarely far above.
        return most <= self.value + 2 * self.error and usual <= self.value + self.error

    def halves(self, value: float) -> bool:
        """Whether a score leaves at most half as much to be wished for as chance does."""
        if self.metric in _ERRORS:
            return value <= self.value / 2
        return 1 - value <= (1 - self.value) / 2

    def surpassed(self, value: float, validation: Sequence[float]) -> bool:
        """Whether a score in training is clearly better than chance and than validation."""
        if self.metric in _ERRORS:
            return value <= _CLEARLY_BETTER * self.value
        spread = value * (1 - value) + self.value * (1 - self.value)
        gap = value - max(*validation, self.value)
        return bool(gap > max(_POINTS, _APART * np.sqrt(spread / max(self.samples, 1))))


def chance_of(task: Task, split: Split, seed: int = 0) -> Chance | None:
    """What the best constant answer scores; None for several outputs and other metrics."""
    if len(task.losses) > 1 or task.metric not in ("accuracy", "binary_accuracy", *_ERRORS):
        return None
    targets = split.source.labels()
    if targets is None:
        found = split.sample(_SAMPLES, seed)[1]
        parts = list(found.values()) if isinstance(found, Mapping) else found
        targets = parts[0] if isinstance(parts, list | tuple) else parts
    targets = np.asarray(targets)
    if not len(targets):
        return None
    return Chance(task.metric, _constant(task, targets), split.size)


def _constant(task: Task, targets: Array) -> float:
    """The metric of the best constant answer to targets."""
    if task.metric in _ERRORS:
        rows = targets.reshape(len(targets), -1).astype(np.float64)
        if task.metric == "mae":
            return float(np.abs(rows - np.median(rows, axis=0)).mean())
        squared = float(np.square(rows - rows.mean(0)).mean())
        return squared if task.metric == "mse" else float(np.sqrt(squared))
    if task.kind in ("binary", "multi-label") or task.losses[0].startswith("binary"):
        share = (targets.reshape(len(targets), -1) > 0.5).mean(0)
        return float(np.maximum(share, 1 - share).mean())
    one_hot = "sparse" not in task.losses[0] and targets.ndim > 1 and targets.shape[-1] > 1
    classes = targets.argmax(-1) if one_hot else targets
    counts = np.unique(classes.ravel(), return_counts=True)[1]
    return float(counts.max() / counts.sum())


def at_chance(columns: Mapping[str, Sequence[float]], chance: Chance | None) -> str:
    """What to say where validation stays at chance while training improves; else empty.

    Args:
        columns: A history's `epochs`.
        chance: Of the validation split; None where it isn't known.
    """
    validation = columns.get(f"val_{chance.metric}", []) if chance else []
    if chance is None or len(validation) < 2 or not chance.explains(validation):
        return ""
    lower = chance.metric in _ERRORS
    training, loss = columns.get(chance.metric, []), columns["loss"]
    if training:
        best = min(training) if lower else max(training)
        improves = chance.surpassed(best, validation)
        reached = f"{chance.metric} {best:.3g}"
    else:
        improves = loss[0] > 0 and min(loss) <= (1 - _FALL) * loss[0]
        reached = f"the loss falls from {loss[0]:.3g} to {min(loss):.3g}"
    if not improves:
        return ""
    best = min(validation) if lower else max(validation)
    return (
        f"validation stays at chance while training improves: {reached} in training, at best"
        f" {best:.3g} in validation over {len(validation)} epochs, where always giving the same"
        f" answer has {chance.value:.3g}; check that the validation data are prepared and labelled"
        " as the training data, and for layers that behave differently in training"
    )
