"""Whether a model does better than one that always gives the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Split, Task
from edgepress.compress.data.output_task import OutputTask

Array = NDArray[Any]

# Targets that are looked at where the classes aren't known without reading the samples.
_SAMPLES = 1000
_ERRORS = ("mae", "mse", "rmse")
_SHARES = ("accuracy", "binary_accuracy")
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
        output: Name of the output, where there are several; else empty.
    """

    metric: str
    value: float
    samples: int
    output: str = ""

    @property
    def column(self) -> str:
        """The name of its metric in a history."""
        return f"{self.output}_{self.metric}" if self.output else self.metric

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

    def beaten(self, value: float) -> bool:
        """Whether a score is clearly better than chance."""
        if self.metric in _ERRORS:
            return value <= _CLEARLY_BETTER * self.value
        return value - self.value > max(_POINTS, _APART * self.error)

    def surpassed(self, value: float, validation: Sequence[float]) -> bool:
        """Whether a score in training is clearly better than chance and than validation."""
        if self.metric in _ERRORS:
            return value <= _CLEARLY_BETTER * self.value
        spread = value * (1 - value) + self.value * (1 - self.value)
        gap = value - max(*validation, self.value)
        return bool(gap > max(_POINTS, _APART * np.sqrt(spread / max(self.samples, 1))))


def chance_of(task: Task, split: Split, seed: int = 0) -> Chance | None:
    """As `chances_of` for a single output; None for several outputs and other metrics."""
    return next(iter(chances_of(task, split, seed)), None) if len(task.outputs) == 1 else None


def chances_of(task: Task, split: Split, seed: int = 0) -> list[Chance]:
    """What the best constant answer scores, for each output whose metric is an accuracy or error.

    Args:
        task: Says what each output is asked for.
        split: Its targets count; a draw of samples where classes aren't known without reading.
        seed: Of the draw.
    """
    known = [o for o in task.outputs if o.scored and o.metric in (*_SHARES, *_ERRORS)]
    if not known:
        return []
    targets = split.source.labels()
    if targets is None:
        targets = split.sample(_SAMPLES, seed)[1]
    parts = dict(zip(task.output_names, task.target_list(targets), strict=True))
    several = len(task.outputs) > 1
    return [
        Chance(o.metric, _constant(o, given), split.size, o.name if several else "")
        for o in known
        if len(given := np.asarray(parts[o.name]))
    ]


def _constant(task: OutputTask, targets: Array) -> float:
    """The metric of the best constant answer to targets."""
    counting = task.counting(targets)
    if counting is not None:
        if not task.numbered and targets.ndim > 1 and targets.shape[-1] > 1:
            return _constant_of_labels(targets, counting)
        targets = targets[counting]
    if task.metric in _ERRORS:
        rows = targets.reshape(len(targets), -1).astype(np.float64)
        if task.metric == "mae":
            return float(np.abs(rows - np.median(rows, axis=0)).mean())
        squared = float(np.square(rows - rows.mean(0)).mean())
        return squared if task.metric == "mse" else float(np.sqrt(squared))
    if task.kind in ("binary", "multi-label") or task.loss.startswith("binary"):
        share = (targets.reshape(len(targets), -1) > 0.5).mean(0)
        return float(np.maximum(share, 1 - share).mean())
    one_hot = "sparse" not in task.loss and targets.ndim > 1 and targets.shape[-1] > 1
    classes = targets.argmax(-1) if one_hot else targets
    counts = np.unique(classes.ravel(), return_counts=True)[1]
    return float(counts.max() / counts.sum())


def _constant_of_labels(targets: Array, counting: Array) -> float:
    """The share of right answers of one answer for each label, over those that count."""
    labels, kept = (a.reshape(-1, targets.shape[-1]) for a in (targets > 0.5, counting))
    yes, total = (labels & kept).sum(0), kept.sum(0)
    return float(np.maximum(yes, total - yes).sum() / max(total.sum(), 1))


def at_chance(columns: Mapping[str, Sequence[float]], chances: Sequence[Chance]) -> str:
    """What to say where validation stays at chance while training improves; else empty.

    Args:
        columns: A history's `epochs`.
        chances: Of the validation split, for each output whose chance is known.
    """
    stuck = [warning for chance in chances if (warning := _stuck(columns, chance))]
    if not stuck:
        return ""
    return (
        f"validation stays at chance while training improves: {', and '.join(stuck)}; check that"
        " the validation data are prepared and labelled as the training data, and for layers that"
        " behave differently in training"
    )


def _stuck(columns: Mapping[str, Sequence[float]], chance: Chance) -> str:
    """The figures of an output whose validation is at chance while its training improves."""
    validation = columns.get(f"val_{chance.column}", [])
    if len(validation) < 2 or not chance.explains(validation):
        return ""
    lower = chance.metric in _ERRORS
    training, loss = columns.get(chance.column, []), columns["loss"]
    if training:
        best = min(training) if lower else max(training)
        improves = chance.surpassed(best, validation)
        reached = f"{chance.metric} {best:.3g}"
    else:
        # The loss of several outputs may fall by another one's.
        improves = not chance.output and loss[0] > 0 and min(loss) <= (1 - _FALL) * loss[0]
        reached = f"the loss falls from {loss[0]:.3g} to {min(loss):.3g}"
    if not improves:
        return ""
    best = min(validation) if lower else max(validation)
    where = f"output '{chance.output}' has " if chance.output else ""
    return (
        f"{where}{reached} in training, at best {best:.3g} in validation over {len(validation)}"
        f" epochs, where always giving the same answer has {chance.value:.3g}"
    )


def collapsed(
    columns: Mapping[str, Sequence[float]],
    chances: Sequence[Chance],
    before: Mapping[str, float],
    rate: float,
) -> tuple[int, str] | None:
    """Where a training loses what the model knew and never finds it again.

    Args:
        columns: A history's `epochs`.
        chances: Of the validation split, for each output whose chance is known.
        before: The metric of each output before the training, by the name of its column.
        rate: The learning rate.

    Returns:
        The epoch from which validation stays at chance, from 1, and what to say; or None.
    """
    for chance in chances:
        lost = _lost(columns.get(f"val_{chance.column}", []), chance, before.get(chance.column))
        if lost is not None:
            return lost[0], (
                f"the training collapsed: {lost[1]}; use a tenth of the learning rate,"
                f" {rate / 10:.2g}, a warm-up of one epoch, or clipnorm 1"
            )
    return None


def _lost(
    validation: Sequence[float], chance: Chance, before: float | None
) -> tuple[int, str] | None:
    """From which epoch on an output is at chance that was clearly better, and its figures."""
    pick = min if chance.metric in _ERRORS else max
    known = [] if before is None else [before]
    # The first column is what the model had before the training.
    values = [*known, *validation]
    if not validation or not values:
        return None
    good = [place for place, value in enumerate(values) if chance.beaten(value)]
    if not good or not (rest := values[good[-1] + 1 :]) or not chance.explains(rest):
        return None
    best = pick(values[: good[-1] + 1])
    epoch = good[-1] + 2 - len(known)
    name = f"{chance.metric} of output '{chance.output}'" if chance.output else chance.metric
    return epoch, (
        f"from epoch {epoch} on validation has at best {name} {pick(rest):.3g}, where always giving"
        f" the same answer has {chance.value:.3g}, and it had {best:.3g} before"
    )
