"""Right and wrong decisions by class, from which all metrics of decisions are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.metric import Scorer

Array = NDArray[Any]
Floats = NDArray[np.float64]
# "classes": one of several; "binary": yes or no; "labels": several, each yes or no for itself.
Kind = Literal["classes", "binary", "labels"]


@dataclass(frozen=True)
class Counts:
    """Decisions over all samples and places.

    Attributes:
        kind: What is decided.
        hits: (classes,) how often each was chosen rightly; of "binary" both sides, no and yes.
        truth: (classes,) how often each should have been chosen.
        chosen: (classes,) how often each was chosen.
        total: How many decisions there are; of "labels" for each label, (labels,) where they
            differ.
    """

    kind: Kind
    hits: Floats
    truth: Floats
    chosen: Floats
    total: float | Floats

    @property
    def present(self) -> NDArray[np.bool_]:
        """(classes,) which occur among targets or decisions."""
        return (self.truth + self.chosen) > 0


def class_numbers(targets: Array, outputs: Array) -> Array:
    """Class indices from indices or one-hot rows."""
    if targets.ndim == outputs.ndim and targets.shape[-1] == outputs.shape[-1] > 1:
        return targets.argmax(-1)
    return targets.reshape(outputs.shape[:-1]).astype(np.int64)


def is_multi_label(outputs: Array, targets: Array) -> bool:
    """Whether targets are labels, each for itself, rather than one class of several."""
    if targets.shape != outputs.shape:
        return False
    if targets.dtype == bool:
        return True
    sums = targets.reshape(-1, targets.shape[-1]).sum(-1)
    return bool((np.abs(sums - 1) > 1e-3).any())


def kind_of(outputs: Array, targets: Array) -> Kind:
    """What outputs decide."""
    if outputs.shape[-1] == 1:
        return "binary"
    return "labels" if is_multi_label(outputs, targets) else "classes"


def decided(outputs: Array, logits: bool) -> Array:
    """Whether each output is a yes: on the upper side of one half, of logits of 0."""
    return np.asarray(outputs > (0.0 if logits else 0.5))


def counted(statistic: Callable[[Counts], float]) -> Any:
    """A metric of decisions, prepared so that any of the samples are scored.

    See `Prepared`, and `OfPlaces` for the last argument.
    """

    def prepared(
        outputs: Array, targets: Array, logits: bool, counting: Array | None = None
    ) -> Scorer:
        count = _counter(outputs, targets, logits, counting)
        return lambda chosen: statistic(count(chosen))

    return prepared


def _counter(
    outputs: Array, targets: Array, logits: bool, counting: Array | None
) -> Callable[[Array | None], Counts]:
    kind = kind_of(outputs, targets)
    if kind == "labels":
        return _label_counter(outputs, targets, logits, counting)
    if kind == "binary":
        classes, chosen = 2, decided(outputs, logits).astype(np.int64)
        truth = (targets.reshape(outputs.shape) > 0.5).astype(np.int64)
    else:
        classes = outputs.shape[-1]
        truth, chosen = class_numbers(targets, outputs), outputs.argmax(-1)
    if counting is None:
        return _class_counter(kind, truth, chosen, classes)
    # What doesn't count is of one class more, of which nothing is said.
    left_out = ~counting.reshape(truth.shape)
    truth, chosen = np.where(left_out, classes, truth), np.where(left_out, classes, chosen)
    count = _class_counter(kind, truth, chosen, classes + 1)
    return lambda some: _without_last(count(some))


def _without_last(counts: Counts) -> Counts:
    """Counts without those of the last class."""
    total = counts.total - counts.truth[-1]
    return Counts(counts.kind, counts.hits[:-1], counts.truth[:-1], counts.chosen[:-1], total)


def _class_counter(
    kind: Kind, truth: Array, chosen: Array, classes: int
) -> Callable[[Array | None], Counts]:
    """Counts decisions between classes; those of many places in a sample once and for all."""
    n = len(truth)
    truth, chosen = truth.reshape(n, -1), chosen.reshape(n, -1)
    if truth.shape[1] == 1:

        def tally(some: Array | None) -> Counts:
            taken = (truth, chosen) if some is None else (truth[some], chosen[some])
            return _counts(kind, _three(*taken, classes), taken[0].size)

        return tally
    rows = np.stack([_three(t, c, classes) for t, c in zip(truth, chosen, strict=True)])
    return _row_counter(kind, rows, truth.shape[1])


def _row_counter(kind: Kind, rows: Floats, places: int) -> Callable[[Array | None], Counts]:
    """Adds up the counts of samples, (samples, 3, classes), each of so many places."""

    def count(some: Array | None) -> Counts:
        taken = rows if some is None else rows[some]
        return _counts(kind, taken.sum(0), len(taken) * places)

    return count


def _counts(kind: Kind, three: Floats, total: float | Floats) -> Counts:
    hits, truth, chosen = three
    return Counts(kind, hits, truth, chosen, total)


def _three(truth: Array, chosen: Array, classes: int) -> Floats:
    """(3, classes): hits, targets and decisions of each class."""
    right = truth[truth == chosen]
    parts = [np.bincount(a.ravel(), minlength=classes) for a in (right, truth, chosen)]
    return np.stack(parts).astype(np.float64)


def _label_counter(
    outputs: Array, targets: Array, logits: bool, counting: Array | None
) -> Callable[[Array | None], Counts]:
    n, labels = len(outputs), outputs.shape[-1]
    kept = np.ones((n, 1, labels), bool) if counting is None else counting.reshape(n, -1, labels)
    chosen = decided(outputs, logits).reshape(n, -1, labels) & kept
    truth = (targets > 0.5).reshape(n, -1, labels) & kept
    totals = np.broadcast_to(kept, truth.shape).sum(1)
    rows = np.stack([(truth & chosen).sum(1), truth.sum(1), chosen.sum(1), totals], 1)

    def count(some: Array | None) -> Counts:
        *three, total = (rows if some is None else rows[some]).sum(0).astype(np.float64)
        return _counts("labels", np.stack(three), total)

    return count
