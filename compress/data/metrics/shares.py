"""Shares of right decisions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.counts import class_numbers, decided, is_multi_label
from edgepress.compress.data.metrics.metric import Metric
from edgepress.compress.errors import InputError

Array = NDArray[Any]


def accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of right decisions: the top class, or every label on its side of one half."""
    if outputs.shape[-1] == 1 or is_multi_label(outputs, targets):
        return binary_accuracy(outputs, targets, logits)
    return float((outputs.argmax(-1) == class_numbers(targets, outputs)).mean())


def binary_accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of labels on the right side of one half."""
    return float((decided(outputs, logits) == (targets.reshape(outputs.shape) > 0.5)).mean())


def is_among(outputs: Array, targets: Array, k: int) -> Array:
    """(samples, …) whether the class is among the `k` highest outputs.

    Of equal outputs the later ones come first, as in scikit-learn.
    """
    top = np.argsort(outputs, axis=-1, kind="stable")[..., ::-1][..., :k]
    return np.asarray((top == class_numbers(targets, outputs)[..., None]).any(-1))


def _top(k: int, outputs: Array, targets: Array, logits: bool) -> float:
    del logits
    return float(is_among(outputs, targets, k).mean())


def top_k(k: int) -> Metric:
    """Share of samples whose class is among the `k` highest outputs.

    Raises:
        InputError: There is no such number.
    """
    if k < 1:
        raise InputError(f"there is no accuracy of the top {k}", "take 1 or more")
    return Metric(partial(_top, k), True, of_classes=True)


SHARES = {
    "accuracy": Metric(accuracy, True),
    "top5_accuracy": top_k(5),
    "binary_accuracy": Metric(binary_accuracy, True, by_value=True),
}
