"""What a metric is: how it scores, its direction, and how it is taken of some of the samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Scores the samples at some indices, as often as each is named; all of them for None.
Scorer = Callable[[Array | None], float]


class MetricFunction(Protocol):
    """Scores outputs against targets."""

    def __call__(self, outputs: Array, targets: Array, logits: bool) -> float:
        """One number for all samples.

        Args:
            outputs: (samples, …) model outputs.
            targets: (samples, …) targets: class indices, one-hot rows, labels or values. Labels
                that are known to be such, each for itself, come as booleans.
            logits: Whether outputs come before softmax or sigmoid.
        """


class Prepared(Protocol):
    """Reads outputs and targets once, so that parts of them are scored at little cost."""

    def __call__(self, outputs: Array, targets: Array, logits: bool) -> Scorer:
        """The scorer of some samples; arguments as for `MetricFunction`."""


class OfPlaces(Protocol):
    """As `Prepared`, of some places of each sample: the others are left out."""

    def __call__(self, outputs: Array, targets: Array, logits: bool, counting: Array) -> Scorer:
        """The scorer of some samples.

        Args:
            outputs: (samples, …, classes or labels) model outputs.
            targets: (samples, …) class numbers, or labels in the outputs' shape.
            logits: Whether outputs come before softmax or sigmoid.
            counting: Of the targets' shape, which places count.
        """


@dataclass(frozen=True)
class Metric:
    """A metric and its direction.

    Attributes:
        score: The function.
        higher_is_better: Its direction.
        by_value: Whether targets must have the outputs' shape: class numbers won't do.
        of_values: Whether it measures how far values are apart, so that of logits it takes the
            probabilities; the others are of decisions.
        unitless: Whether its value means the same whatever the targets' scale, so that those of
            several outputs have a mean.
        of_classes: Whether it means nothing where targets are no classes or labels.
        any_shape: Whether targets may have another shape than the outputs.
        prepared: How some of the samples are scored; where it is None, `score` is called on them.
        argument: What stands behind the colon of a name such as `f1:2`; makes the metric of it.
        own: Whether it takes outputs and targets as they are: a function of the user's, or one of
            boxes.
        of_places: How places without a label are left out; None where it can't leave any out.
    """

    score: MetricFunction
    higher_is_better: bool
    by_value: bool = False
    of_values: bool = False
    unitless: bool = True
    of_classes: bool = False
    any_shape: bool = False
    prepared: Prepared | None = None
    argument: Callable[[str], Metric] | None = None
    own: bool = False
    of_places: OfPlaces | None = None

    def scorer(self, outputs: Array, targets: Array, logits: bool) -> Scorer:
        """Scores any of the samples; arguments as for `MetricFunction`."""
        if self.prepared is not None:
            return self.prepared(outputs, targets, logits)

        def scored(chosen: Array | None) -> float:
            if chosen is None:
                return self.score(outputs, targets, logits)
            return self.score(outputs[chosen], targets[chosen], logits)

        return scored


def score_of(prepared: Prepared) -> MetricFunction:
    """The metric over all samples by the function that scores some of them."""

    def score(outputs: Array, targets: Array, logits: bool) -> float:
        return prepared(outputs, targets, logits)(None)

    return score


def mean_over_places(by_place: Callable[[Array, Array, bool], Array]) -> OfPlaces:
    """The mean over the places that count of what a function gives for each place."""

    def of_places(outputs: Array, targets: Array, logits: bool, counting: Array) -> Scorer:
        values = np.asarray(by_place(outputs, targets, logits), np.float64)
        rows = len(values)
        kept = counting.reshape(rows, -1)
        sums = np.where(kept, values.reshape(rows, -1), 0).sum(1)
        counts = kept.sum(1)

        def mean(chosen: Array | None) -> float:
            total, below = (a.sum() if chosen is None else a[chosen].sum() for a in (sums, counts))
            return float(total / below) if below else float("nan")

        return mean

    return of_places


def mean_of(by_sample: Callable[[Array, Array, bool], Array]) -> Prepared:
    """The mean over samples of what a function gives for each, (samples,)."""

    def prepared(outputs: Array, targets: Array, logits: bool) -> Scorer:
        values = np.asarray(by_sample(outputs, targets, logits), np.float64)
        return lambda chosen: float((values if chosen is None else values[chosen]).mean())

    return prepared
