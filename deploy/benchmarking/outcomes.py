"""What a model's outputs make of each sample: the metric's parts, from which it can be taken again.

`PARTS` is the table of metrics that can be taken sample by sample: a new one is a function and a
line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.gate.outcomes import Outcomes, Resampled, Result, Statistic, close
from edgepress.benchmarks.gate.resampling import resampled
from edgepress.compress.data.metrics import metric_of
from edgepress.compress.data.metrics.counts import decided
from edgepress.compress.data.metrics.shares import is_among

if TYPE_CHECKING:
    from edgepress.compress.data.output_task import OutputTask
    from edgepress.compress.data.tasks import Task
    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]
# Draws of a metric that can't be taken sample by sample, and how few are worth keeping.
_DRAWS, _FEWEST_DRAWS = 500, 100


@dataclass(frozen=True)
class Parts:
    """What each sample adds to a metric; fields as in `Outcomes`."""

    parts: Array
    weights: Array | None = None
    statistic: Statistic = "mean"
    scale: float = 1.0


def _accuracy(outputs: Array, targets: Array, logits: bool) -> Parts:
    if outputs.shape[-1] == 1 or (
        targets.shape == outputs.shape
        and bool((targets.reshape(-1, targets.shape[-1]).sum(-1) != 1).any())
    ):
        return _binary_accuracy(outputs, targets, logits)
    return Parts(_by_sample(outputs.argmax(-1) == _classes(targets, outputs)))


def _binary_accuracy(outputs: Array, targets: Array, logits: bool) -> Parts:
    chosen = decided(outputs, logits)
    return Parts(_by_sample(chosen == (targets.reshape(outputs.shape) > 0.5)))


def _top5_accuracy(outputs: Array, targets: Array, logits: bool) -> Parts:
    del logits
    return Parts(_by_sample(is_among(outputs, targets, 5)))


def _iou(outputs: Array, targets: Array, logits: bool) -> Parts | None:
    if outputs.shape[-1] != 1:
        return None  # the mean over classes is that of several sums
    positive = decided(outputs, logits)
    truth = targets.reshape(outputs.shape) > 0.5
    return Parts(_sums(positive & truth), _sums(positive | truth))


def _mae(outputs: Array, targets: Array, logits: bool) -> Parts:
    del logits
    return Parts(_by_sample(np.abs(_difference(outputs, targets))))


def _mse(outputs: Array, targets: Array, logits: bool) -> Parts:
    del logits
    return Parts(_by_sample(np.square(_difference(outputs, targets))))


def _rmse(outputs: Array, targets: Array, logits: bool) -> Parts:
    return Parts(_mse(outputs, targets, logits).parts, statistic="root")


def _r2(outputs: Array, targets: Array, logits: bool) -> Parts:
    truth = targets.reshape(outputs.shape).astype(np.float64)
    spread = float(np.square(truth - truth.mean(0)).mean())
    return Parts(_mse(outputs, targets, logits).parts, None, "explained", spread)


def _psnr(outputs: Array, targets: Array, logits: bool) -> Parts:
    peak = float(targets.max()) - float(targets.min())
    return Parts(_mse(outputs, targets, logits).parts, None, "decibels", peak**2)


PARTS: dict[str, Callable[[Array, Array, bool], Parts | None]] = {
    "accuracy": _accuracy,
    "binary_accuracy": _binary_accuracy,
    "top5_accuracy": _top5_accuracy,
    "iou": _iou,
    "mae": _mae,
    "mse": _mse,
    "rmse": _rmse,
    "r2": _r2,
    "psnr": _psnr,
}


def _classes(targets: Array, outputs: Array) -> Array:
    if targets.ndim == outputs.ndim and targets.shape[-1] == outputs.shape[-1] > 1:
        return targets.argmax(-1)
    return targets.reshape(outputs.shape[:-1]).astype(np.int64)


def _difference(outputs: Array, targets: Array) -> Array:
    return outputs.astype(np.float64) - targets.reshape(outputs.shape).astype(np.float64)


def _by_sample(values: Array) -> Array:
    """(samples,) means."""
    return values.reshape(len(values), -1).mean(1).astype(np.float64)


def _sums(values: Array) -> Array:
    return values.reshape(len(values), -1).sum(1).astype(np.float64)


def outcomes_of(task: Task, outputs: Sequence[Array], targets: Nested) -> list[Result]:
    """What became of each sample: over all outputs, then by output where there are several.

    Args:
        task: What the model is asked to do.
        outputs: (samples, …) of each output, in an order that the samples alone decide.
        targets: (samples, …) array, or a mapping or sequence with one for each output.

    Returns:
        Only such as give the task's own figures again; a metric that can't be taken sample by
        sample is taken over bootstrap draws, and has none where that takes too long.
    """
    truth = task.target_list(targets)
    found = {
        part.name: _of_output(part, np.asarray(values), np.asarray(wanted))
        for part, values, wanted in zip(task.outputs, outputs, truth, strict=True)
        if part.scored
    }
    whole = _joined([found[part.name] for part in task.headline])
    if whole is not None and not close(whole.value, task.score(list(outputs), targets)):
        whole = None
    alone = task.headline[0].name if len(task.headline) == 1 else ""
    single = [o for name, o in found.items() if o is not None and name != alone]
    return [*([whole] if whole else []), *(single if len(found) > 1 else [])]


def _of_output(part: OutputTask, outputs: Array, targets: Array) -> Result | None:
    return _by_parts(part, outputs, targets) or _by_draws(part, outputs, targets)


def _by_parts(part: OutputTask, outputs: Array, targets: Array) -> Outcomes | None:
    if part.metric not in PARTS or part.void is not None:
        return None
    part_values = PARTS[part.metric](*part.scorable(outputs, targets))
    if part_values is None or part_values.scale <= 0 or not np.isfinite(part_values.parts).all():
        return None
    found = Outcomes(
        part.metric,
        metric_of(part.metric).higher_is_better,
        part_values.parts,
        part_values.weights,
        part_values.statistic,
        part_values.scale,
        part.name,
    )
    return found if close(found.value, part.score(outputs, targets)) else None


def _by_draws(part: OutputTask, outputs: Array, targets: Array) -> Resampled | None:
    scorer = part.scorer(outputs, targets)
    value = scorer(None)
    draws = resampled(scorer, len(outputs), _DRAWS) if np.isfinite(value) else np.zeros(0)
    if len(draws) < _FEWEST_DRAWS:
        return None
    rising = metric_of(part.metric).higher_is_better
    return Resampled(part.metric, rising, value, draws, len(outputs), part.name)


def _joined(scored: Sequence[Result | None]) -> Result | None:
    """The metric over several outputs: the mean of theirs, where that is one over samples too."""
    known = [o for o in scored if o is not None]
    if not known or len(known) < len(scored):
        return None
    first = known[0]
    if len(known) == 1:
        return replace(first, output="")
    parts = [o for o in known if isinstance(o, Outcomes)]
    if len(parts) == len(known) and all(o.weights is None and o.statistic == "mean" for o in parts):
        mean = np.mean([o.parts for o in parts], axis=0)
        return Outcomes(first.metric, first.higher_is_better, mean)
    drawn = [o.resampled(_DRAWS) for o in known]
    least = min(len(d) for d in drawn)
    return Resampled(
        first.metric,
        first.higher_is_better,
        float(np.mean([o.value for o in known])),
        np.mean([d[:least] for d in drawn], axis=0),
        first.n,
    )
