"""Structural similarity of images.

Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
structural similarity" (2004), with their constants; as `tf.image.ssim` computes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.metric import Metric, mean_of, score_of
from edgepress.compress.errors import InputError

Array = NDArray[Any]
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def _by_image(outputs: Array, targets: Array, logits: bool) -> Array:
    """(images,) similarity of each, the mean over channels; the targets' range is of all values."""
    del logits
    if outputs.ndim != 4:
        raise InputError(
            f"metric 'ssim' compares images, but an output's samples are {outputs.shape[1:]}",
            "take mae, mse or r2",
        )
    truth = targets.reshape(outputs.shape)
    peak = float(truth.max()) - float(truth.min())
    return np.array([_similarity(a, b, peak) for a, b in zip(outputs, truth, strict=True)])


def _similarity(one: Array, other: Array, peak: float) -> float:
    """Of two (height, width, channels) images."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    mean_x, mean_y = _smooth(x), _smooth(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _smooth(x * y) - product
    variances = _smooth(x * x + y * y) - squares
    above = (2 * product + c1) * (2 * covariance + c2)
    below = (squares + c1) * (variances + c2)
    # Flat images of a range of 0: the same, or not.
    same = np.where(above == below, 1.0, 0.0)
    return float(np.divide(above, below, out=same, where=below != 0).mean())


def _smooth(image: Array) -> Array:
    """Gaussian means at all places where the window lies within the image.

    Of an image smaller than the window, the largest odd window that fits.
    """
    from scipy.ndimage import correlate1d

    for axis in (0, 1):
        size = min(_WINDOW, image.shape[axis] - 1 + image.shape[axis] % 2)
        places = np.arange(size) - size // 2
        weights = np.exp(-(places**2) / (2 * _SIGMA**2))
        image = correlate1d(image, weights / weights.sum(), axis)
        kept = slice(size // 2, image.shape[axis] - size // 2)
        image = image[kept] if axis == 0 else image[:, kept]
    return image


_SSIM = mean_of(_by_image)
SIMILARITY = {"ssim": Metric(score_of(_SSIM), True, by_value=True, of_values=True, prepared=_SSIM)}
