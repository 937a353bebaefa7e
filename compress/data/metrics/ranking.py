"""Metrics of the order that scores put samples in, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.counts import class_numbers, kind_of
from edgepress.compress.data.metrics.metric import Metric, OfPlaces, Scorer

Array = NDArray[Any]
# Whether each place is of a class or label, and its score.
Column = tuple[Array, Array]


def auc(outputs: Array, targets: Array, logits: bool) -> float:
    """Area under the ROC curve; the mean over classes (each against the rest) or labels.

    A class or label that all samples or none have is left out; NaN where none is left.
    """
    return _auc(_columns(outputs, targets, logits))


def _auc(columns: Iterable[Column]) -> float:
    from sklearn.metrics import roc_auc_score

    return _mean(roc_auc_score, [(t, s) for t, s in columns if 0 < t.sum() < len(t)])


def average_precision(outputs: Array, targets: Array, logits: bool) -> float:
    """Area under the curve of precision and recall in steps; the mean over classes or labels.

    A class or label that no sample has counts 0, as in scikit-learn.
    """
    return _average_precision(_columns(outputs, targets, logits))


def _average_precision(columns: Iterable[Column]) -> float:
    from sklearn.metrics import average_precision_score

    return _mean(average_precision_score, [(t, s) for t, s in columns if len(t)])


def _of_places(function: Callable[[Iterable[Column]], float]) -> OfPlaces:
    """The metric over places that count, each class or label over its own."""

    def of_places(outputs: Array, targets: Array, logits: bool, counting: Array) -> Scorer:
        def scored(chosen: Array | None) -> float:
            taken = (outputs, targets, counting)
            given, truth, kept = taken if chosen is None else (a[chosen] for a in taken)
            width = given.shape[-1] if truth.size == given.size else 1
            by_column = np.broadcast_to(
                kept.reshape(-1, width), (given.size // given.shape[-1], given.shape[-1])
            )
            columns = _columns(given, truth, logits)
            return function((t[k], s[k]) for (t, s), k in zip(columns, by_column.T, strict=True))

        return scored

    return of_places


def _mean(function: Callable[[Array, Array], float], columns: list[Column]) -> float:
    from sklearn import config_context

    quickly = config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quickly:
        warnings.simplefilter("ignore")  # of what is defined above
        found = [float(function(truth, scores)) for truth, scores in columns]
    return float(np.mean(found)) if found else float("nan")


def _columns(outputs: Array, targets: Array, logits: bool) -> Iterator[Column]:
    """For each class or label whether each place has it, and its score."""
    from scipy.special import logsumexp

    kind, classes = kind_of(outputs, targets), outputs.shape[-1]
    # Infinite logits keep their place in the order.
    scores = np.nan_to_num(outputs.astype(np.float64)).reshape(-1, classes)
    if kind == "classes":
        truth = class_numbers(targets, outputs).ravel()[:, None] == np.arange(classes)
        if logits:  # as logarithms of the probabilities, which don't run into 0 and 1
            # Sorted, so that the same values in another order have the same sum to the last bit.
            scores = scores - logsumexp(np.sort(scores, -1), -1, keepdims=True)
    else:
        truth = targets.reshape(outputs.shape).reshape(-1, classes) > 0.5
    for label in range(classes):
        yield truth[:, label], scores[:, label]


RANKING = {
    "auc": Metric(auc, True, of_classes=True, of_places=_of_places(_auc)),
    "average_precision": Metric(
        average_precision, True, of_classes=True, of_places=_of_places(_average_precision)
    ),
}
