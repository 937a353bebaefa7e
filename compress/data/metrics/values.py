"""Errors of values, and what is made of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.metric import (
    Metric,
    MetricFunction,
    OfPlaces,
    Scorer,
    mean_of,
    mean_over_places,
    score_of,
)

Array = NDArray[Any]
# Below this an absolute target counts as this, as in scikit-learn.
_SMALLEST = float(np.finfo(np.float64).eps)


def mae(outputs: Array, targets: Array, logits: bool) -> float:
    """Mean absolute error."""
    del logits
    return float(np.abs(difference(outputs, targets)).mean())


def mse(outputs: Array, targets: Array, logits: bool) -> float:
    """Mean squared error."""
    del logits
    return float(np.square(difference(outputs, targets)).mean())


def rmse(outputs: Array, targets: Array, logits: bool) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(outputs, targets, logits)))


def _relative(outputs: Array, targets: Array, logits: bool) -> Array:
    """(samples,) mean absolute error as a share of the target: 0.1 is 10 %."""
    del logits
    below = np.maximum(np.abs(targets.reshape(outputs.shape).astype(np.float64)), _SMALLEST)
    shares = np.abs(difference(outputs, targets)) / below
    return np.asarray(shares.reshape(len(shares), -1).mean(1))


def r2(outputs: Array, targets: Array, logits: bool) -> float:
    """Share of the targets' variance that the outputs explain, the mean over values of a sample.

    As scikit-learn has it: constant targets give 1 where they are met exactly, else 0. Of images
    the variances of all pixels are one sum, for many pixels hardly vary.
    """
    del logits
    from sklearn.metrics import r2_score

    truth, given = (a.reshape(len(outputs), -1).astype(np.float64) for a in (targets, outputs))
    how = "variance_weighted" if outputs.ndim > 2 else "uniform_average"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer than two samples, which have no variance
        return float(r2_score(truth, given, multioutput=how))


def psnr(outputs: Array, targets: Array, logits: bool) -> float:
    """Peak signal-to-noise ratio in decibels, the targets' range being the peak."""
    error = mse(outputs, targets, logits)
    peak = float(targets.max()) - float(targets.min())
    return float(10 * np.log10(peak**2 / error)) if error > 0 and peak > 0 else 100.0


def difference(outputs: Array, targets: Array) -> Array:
    """Outputs less targets, in the outputs' shape."""
    return outputs.astype(np.float64) - targets.reshape(outputs.shape).astype(np.float64)


def _absolute(outputs: Array, targets: Array, logits: bool) -> Array:
    del logits
    return np.abs(difference(outputs, targets))


def _squared(outputs: Array, targets: Array, logits: bool) -> Array:
    del logits
    return np.square(difference(outputs, targets))


def _rooted(outputs: Array, targets: Array, logits: bool, counting: Array) -> Scorer:
    mean = mean_over_places(_squared)(outputs, targets, logits, counting)
    return lambda chosen: float(np.sqrt(mean(chosen)))


def _error(score: MetricFunction, of_places: OfPlaces) -> Metric:
    return Metric(score, False, by_value=True, of_values=True, unitless=False, of_places=of_places)


_MAPE = mean_of(_relative)
VALUES = {
    "r2": Metric(r2, True, by_value=True, of_values=True),
    "psnr": Metric(psnr, True, by_value=True, of_values=True),
    "mae": _error(mae, mean_over_places(_absolute)),
    "mse": _error(mse, mean_over_places(_squared)),
    "rmse": _error(rmse, _rooted),
    "mape": Metric(score_of(_MAPE), False, by_value=True, of_values=True, prepared=_MAPE),
}
