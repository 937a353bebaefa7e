"""Metrics in NumPy, so that Keras, LiteRT and ONNX Runtime outputs are scored by the same code.

Every metric takes outputs as the model gives them and targets as the data gives them. Outputs are
probabilities unless `logits` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.kernel.registry import Table

Array = NDArray[Any]


class MetricFunction(Protocol):
    """Scores outputs against targets."""

    def __call__(self, outputs: Array, targets: Array, logits: bool) -> float:
        """One number for all samples.

        Args:
            outputs: (samples, …) model outputs.
            targets: (samples, …) targets: class indices, one-hot rows, labels or values.
            logits: Whether outputs come before softmax or sigmoid.
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
    """

    score: MetricFunction
    higher_is_better: bool
    by_value: bool = False
    of_values: bool = False
    unitless: bool = True


def _classes(targets: Array, outputs: Array) -> Array:
    """Class indices from indices or one-hot rows."""
    if targets.ndim == outputs.ndim and targets.shape[-1] == outputs.shape[-1] > 1:
        return targets.argmax(-1)
    return targets.reshape(outputs.shape[:-1]).astype(np.int64)


def accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of right decisions: the top class, or every label on its side of one half."""
    if outputs.shape[-1] == 1 or _is_multi_label(outputs, targets):
        return binary_accuracy(outputs, targets, logits)
    return float((outputs.argmax(-1) == _classes(targets, outputs)).mean())


def _is_multi_label(outputs: Array, targets: Array) -> bool:
    if targets.shape != outputs.shape:
        return False
    sums = targets.reshape(-1, targets.shape[-1]).sum(-1)
    return bool((np.abs(sums - 1) > 1e-3).any())


def top5_accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of samples whose class is among the five highest outputs."""
    del logits
    top = np.argpartition(outputs, -min(5, outputs.shape[-1]), axis=-1)[..., -5:]
    return float((top == _classes(targets, outputs)[..., None]).any(-1).mean())


def binary_accuracy(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of labels on the right side of one half."""
    threshold = 0.0 if logits else 0.5
    return float(((outputs > threshold) == (targets.reshape(outputs.shape) > 0.5)).mean())


def iou(outputs: Array, targets: Array, logits: bool) -> float:
    """Intersection over union of the positive class, over all pixels of all samples."""
    positive = outputs > (0.0 if logits else 0.5)
    truth = targets.reshape(outputs.shape) > 0.5
    union = np.logical_or(positive, truth).sum()
    return float(np.logical_and(positive, truth).sum() / union) if union else 1.0


def mae(outputs: Array, targets: Array, logits: bool) -> float:
    """Mean absolute error."""
    del logits
    return float(np.abs(_difference(outputs, targets)).mean())


def mse(outputs: Array, targets: Array, logits: bool) -> float:
    """Mean squared error."""
    del logits
    return float(np.square(_difference(outputs, targets)).mean())


def rmse(outputs: Array, targets: Array, logits: bool) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(outputs, targets, logits)))


def r2(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of the targets' variance that the outputs explain."""
    truth = targets.reshape(outputs.shape).astype(np.float64)
    spread = np.square(truth - truth.mean(0)).mean()
    return float(1 - mse(outputs, targets, logits) / spread) if spread else 0.0


def psnr(outputs: Array, targets: Array, logits: bool) -> float:
    """Peak signal-to-noise ratio in decibels, the targets' range being the peak."""
    error = mse(outputs, targets, logits)
    peak = float(targets.max()) - float(targets.min())
    return float(10 * np.log10(peak**2 / error)) if error > 0 and peak > 0 else 100.0


def _difference(outputs: Array, targets: Array) -> Array:
    return outputs.astype(np.float64) - targets.reshape(outputs.shape).astype(np.float64)


METRICS: Table[Metric] = Table(
    "metric",
    {
        "accuracy": Metric(accuracy, True),
        "top5_accuracy": Metric(top5_accuracy, True),
        "binary_accuracy": Metric(binary_accuracy, True, by_value=True),
        "iou": Metric(iou, True, by_value=True),
        "r2": Metric(r2, True, by_value=True, of_values=True),
        "psnr": Metric(psnr, True, by_value=True, of_values=True),
        "mae": Metric(mae, False, by_value=True, of_values=True, unitless=False),
        "mse": Metric(mse, False, by_value=True, of_values=True, unitless=False),
        "rmse": Metric(rmse, False, by_value=True, of_values=True, unitless=False),
    },
    "edgepress.metrics",
)


def fallen(figures: Iterable[OutputMetric], allowed: float) -> list[OutputMetric]:
    """Figures that are worse than those beside them by more than is allowed, each in its own unit.

    Args:
        figures: With what they are compared with.
        allowed: Points of a score, or the share of an error.
    """
    return [
        f
        for f in figures
        if f.source_value is not None
        # What is no number is no better than anything.
        and (f.value is None or not drop_of(f.metric, f.source_value, f.value) <= allowed)
    ]


def worst_drop(figures: Iterable[OutputMetric]) -> float:
    """The largest fall of any figure from what stands beside it; infinite where one is missing."""
    falls = [
        drop_of(f.metric, f.source_value, f.value)
        if f.value is not None and f.source_value is not None
        else np.inf
        for f in figures
    ]
    return max((fall if fall == fall else np.inf for fall in falls), default=np.inf)


def drop_of(metric: str, before: float, after: float) -> float:
    """How much worse `after` is: points for scores, the share of `before` for errors."""
    if METRICS[metric].higher_is_better:
        return before - after
    return (after - before) / before if before else after
