"""Metrics of the order that scores put samples in, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.counts import class_numbers, kind_of
from edgepress.compress.data.metrics.metric import Metric

Array = NDArray[Any]


def auc(outputs: Array, targets: Array, logits: bool) -> float:
    """Area under the ROC curve; the mean over classes (each against the rest) or labels.

    A class or label that all samples or none have is left out; NaN where none is left.
    """
    from sklearn.metrics import roc_auc_score

    kept = [(t, s) for t, s in _columns(outputs, targets, logits) if 0 < t.sum() < len(t)]
    return _mean(roc_auc_score, kept)


def average_precision(outputs: Array, targets: Array, logits: bool) -> float:
    """Area under the curve of precision and recall in steps; the mean over classes or labels.

    A class or label that no sample has counts 0, as in scikit-learn.
    """
    from sklearn.metrics import average_precision_score

    return _mean(average_precision_score, list(_columns(outputs, targets, logits)))


def _mean(function: Callable[[Array, Array], float], columns: list[tuple[Array, Array]]) -> float:
    from sklearn import config_context

    quickly = config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quickly:
        warnings.simplefilter("ignore")  # of what is defined above
        found = [float(function(truth, scores)) for truth, scores in columns]
    return float(np.mean(found)) if found else float("nan")


def _columns(outputs: Array, targets: Array, logits: bool) -> Iterator[tuple[Array, Array]]:
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
    "auc": Metric(auc, True, of_classes=True),
    "average_precision": Metric(average_precision, True, of_classes=True),
}
