"""Metrics of decisions: F1, precision, recall, overlap and balanced accuracy, over all samples.

Which classes count: of one output the side "yes"; of several classes the mean of those that occur
among targets or decisions; of several labels the mean of all. So scikit-learn has it, which these
are tested against; what is 0 of 0 counts 0 there, and 1 for overlaps: where there is nothing to
find and nothing was found, all is right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.counts import Counts, counted
from edgepress.compress.data.metrics.metric import Metric, score_of
from edgepress.compress.errors import InputError

Floats = NDArray[np.float64]
# (hits, targets, decisions) of each class to a score of each.
Rate = Callable[[Floats, Floats, Floats], Floats]


def _share(above: Floats, below: Floats, empty: float = 0.0) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(above), empty), where=below > 0)


def precision(hits: Floats, truth: Floats, chosen: Floats) -> Floats:
    """Share of the decisions for a class that are right."""
    del truth
    return _share(hits, chosen)


def recall(hits: Floats, truth: Floats, chosen: Floats) -> Floats:
    """Share of a class that was found."""
    del chosen
    return _share(hits, truth)


def f1(hits: Floats, truth: Floats, chosen: Floats) -> Floats:
    """Harmonic mean of precision and recall."""
    return _share(2 * hits, truth + chosen)


def dice(hits: Floats, truth: Floats, chosen: Floats) -> Floats:
    """Twice the overlap over the sum of both."""
    return _share(2 * hits, truth + chosen, 1.0)


def iou(hits: Floats, truth: Floats, chosen: Floats) -> Floats:
    """Intersection over union."""
    return _share(hits, truth + chosen - hits, 1.0)


def natural(rate: Rate, counts: Counts) -> float:
    """Of the side "yes", or the mean over classes or labels."""
    scores = rate(counts.hits, counts.truth, counts.chosen)
    return float(scores[1]) if counts.kind == "binary" else macro(rate, counts)


def macro(rate: Rate, counts: Counts) -> float:
    """The mean over classes that occur, both sides of yes and no among them; or over all labels."""
    scores = rate(counts.hits, counts.truth, counts.chosen)
    if counts.kind != "labels":
        scores = scores[counts.present]
    return float(scores.mean()) if scores.size else float("nan")


def micro(rate: Rate, counts: Counts) -> float:
    """Of the decisions of all classes together."""
    sums = (np.atleast_1d(part.sum()) for part in (counts.hits, counts.truth, counts.chosen))
    return float(rate(*sums)[0])


def weighted(rate: Rate, counts: Counts) -> float:
    """The mean over classes, each with as much weight as it has targets."""
    scores = rate(counts.hits, counts.truth, counts.chosen)
    total = counts.truth.sum()
    return float((scores * counts.truth).sum() / total) if total else 0.0


def _of_one(rate: Rate, number: int, counts: Counts) -> float:
    scores = rate(counts.hits, counts.truth, counts.chosen)
    if number >= len(scores):
        raise InputError(
            f"there is no class {number}: there are {len(scores)}", "they are numbered from 0"
        )
    return float(scores[number])


def overlap(rate: Rate, counts: Counts) -> float:
    """`natural`, labels that don't occur left out: they overlap with nothing."""
    if counts.kind != "labels" or not counts.present.any():
        return natural(rate, counts)
    return float(rate(counts.hits, counts.truth, counts.chosen)[counts.present].mean())


def balanced_accuracy(counts: Counts) -> float:
    """Mean share of each class that was found, of those that occur; of labels, of both sides."""
    if counts.kind != "labels":
        there = counts.truth > 0
        found = _share(counts.hits, counts.truth)[there]
        return float(found.mean()) if found.size else float("nan")
    no = np.asarray(counts.total - counts.truth)
    right = no - counts.chosen + counts.hits
    sides = np.stack([_share(counts.hits, counts.truth, np.nan), _share(right, no, np.nan)])
    known = np.isfinite(sides).any(0)
    return float(np.nanmean(sides[:, known], 0).mean()) if known.any() else float("nan")


def by_decisions(statistic: Callable[[Counts], float], rate: Rate | None = None) -> Metric:
    """A metric of decisions, higher being better.

    Args:
        statistic: From the counts of all samples to the metric.
        rate: Gives that of a single class, for names such as `f1:2`; or None.
    """
    prepared = counted(statistic)
    argument = None if rate is None else partial(_single, rate)
    return Metric(
        score_of(prepared), True, of_classes=True, prepared=prepared, argument=argument,
        of_places=prepared,
    )  # fmt: skip


def _single(rate: Rate, text: str) -> Metric:
    if not text.isdecimal():
        raise InputError(f"'{text}' is not the number of a class", "they are numbered from 0")
    return by_decisions(partial(_of_one, rate, int(text)))


DECISIONS = {
    "balanced_accuracy": by_decisions(balanced_accuracy),
    **{
        name + suffix: by_decisions(partial(average, rate), None if suffix else rate)
        for name, rate in {"f1": f1, "precision": precision, "recall": recall}.items()
        for suffix, average in {
            "": natural, "_macro": macro, "_micro": micro, "_weighted": weighted,
        }.items()
    },
    "iou": by_decisions(partial(overlap, iou), iou),
    "mean_iou": by_decisions(partial(macro, iou)),
    "dice": by_decisions(partial(overlap, dice), dice),
}  # fmt: skip
