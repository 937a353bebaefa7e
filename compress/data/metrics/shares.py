"""Shares of right decisions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.counts import class_numbers, decided, is_multi_label
from edgepress.compress.data.metrics.metric import Metric, mean_over_places
from edgepress.compress.errors import InputError

Array = NDArray[Any]


def accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of right decisions: the top class, or every label on its side of one half."""
    return float(_right(outputs, targets, logits).mean())


def _right(outputs: Array, targets: Array, logits: bool) -> Array:
    if outputs.shape[-1] == 1 or is_multi_label(outputs, targets):
        return _right_labels(outputs, targets, logits)
    return np.asarray(outputs.argmax(-1) == class_numbers(targets, outputs))


def binary_accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of labels on the right side of one half."""
    return float(_right_labels(outputs, targets, logits).mean())


def _right_labels(outputs: Array, targets: Array, logits: bool) -> Array:
    return np.asarray(decided(outputs, logits) == (targets.reshape(outputs.shape) > 0.5))


def is_among(outputs: Array, targets: Array, k: int) -> Array:
    """(samples, …) whether the class is among the `k` highest outputs.

    Of equal outputs the later ones come first, as in scikit-learn.
    """
    top = np.argsort(outputs, axis=-1, kind="stable")[..., ::-1][..., :k]
    return np.asarray((top == class_numbers(targets, outputs)[..., None]).any(-1))


def _among(k: int, outputs: Array, targets: Array, logits: bool) -> Array:
    del logits
    return is_among(outputs, targets, k)


def _top(k: int, outputs: Array, targets: Array, logits: bool) -> float:
    return float(_among(k, outputs, targets, logits).mean())


def top_k(k: int) -> Metric:
    """Share of samples whose class is among the `k` highest outputs.

    Raises:
        InputError: There is no such number.
    """
    if k < 1:
        raise InputError(f"there is no accuracy of the top {k}", "take 1 or more")
    of_places = mean_over_places(partial(_among, k))
    return Metric(partial(_top, k), True, of_classes=True, of_places=of_places)


SHARES = {
    "accuracy": Metric(accuracy, True, of_places=mean_over_places(_right)),
    "top5_accuracy": top_k(5),
    "binary_accuracy": Metric(
        binary_accuracy, True, by_value=True, of_places=mean_over_places(_right_labels)
    ),
}
