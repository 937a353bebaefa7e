"""Ranges of activations from samples: what is cut off at the ends buys finer levels between.

Each method takes a histogram of one tensor's values and gives the two ends of its range. Min-max
cuts nothing off; the others trade the error of values outside against the rounding inside.

Source: Migacz, 8-bit Inference with TensorRT, 2017 (entropy); Nagel et al., A White Paper on
Neural Network Quantization, 2021, section 3.1 (mean squared error).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BINS = 4096
_LEVELS = 256
# Share of the values that the percentile cuts off at each end that isn't zero.
_CUT = 1e-4
# Ends that are tried, as shares of what the samples reach.
_SHARES = np.geomspace(1.0, 0.1, 48)

Range = tuple[float, float]


@dataclass(frozen=True)
class Histogram:
    """How often one tensor's values lay where.

    Attributes:
        counts: Values in each of equal bins from `low` to `high`.
        low: Smallest value, at most 0: paddings are made of zeros.
        high: Largest value, at least 0.
    """

    counts: NDArray[Any]
    low: float
    high: float

    @property
    def centres(self) -> NDArray[Any]:
        """The value that stands for each bin."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)


def histogram(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """How many values lie in each of `BINS` equal parts of a range that holds them all."""
    place = (values.ravel() - low) * (BINS / (high - low))
    return np.bincount(np.clip(place.astype(np.int32), 0, BINS - 1), minlength=BINS)


def min_max(values: Histogram) -> Range:
    """All that the samples reach."""
    return values.low, values.high


def percentile(values: Histogram) -> Range:
    """All but one value of ten thousand at either end."""
    total = np.cumsum(values.counts)
    edges = np.linspace(values.low, values.high, len(values.counts) + 1)
    first = int(np.searchsorted(total, _CUT * total[-1], side="right"))
    last = int(np.searchsorted(total, (1 - _CUT) * total[-1], side="left"))
    return min(float(edges[first]), 0.0), max(float(edges[last + 1]), 0.0)


def mean_squared_error(values: Histogram) -> Range:
    """The range with the least mean squared difference of values and levels."""
    centres = values.centres

    def cost(low: float, high: float) -> float:
        levels = (high - low) / (_LEVELS - 1)
        zero = np.round(low / levels)
        rounded = np.clip(np.round(centres / levels), zero, zero + _LEVELS - 1) * levels
        return float(np.dot(values.counts, np.square(rounded - centres)))

    return _searched(values, cost)


def entropy(values: Histogram) -> Range:
    """The range whose levels tell most about the values: least relative entropy."""
    centres, counts = values.centres, values.counts.astype(np.float64)
    # Zero has a level of its own in every range: the many zeros behind a ReLU tell none apart.
    counts[min(int(-values.low / (values.high - values.low) * len(counts)), len(counts) - 1)] = 0
    occupied = counts > 0
    if not occupied.any():
        return min_max(values)

    def cost(low: float, high: float) -> float:
        levels = (high - low) / _LEVELS
        place = np.clip(((centres - low) / levels).astype(int), 0, _LEVELS - 1)
        inside = (centres >= low) & (centres <= high)
        # Each level's values are spread evenly over its bins that hold any.
        kept = np.bincount(place[inside], counts[inside], _LEVELS)
        spread = np.bincount(place[inside], occupied[inside], _LEVELS)
        guess = np.where(inside & occupied, kept[place] / np.maximum(spread[place], 1), 0.0)
        clipped = np.where(inside, counts, 0.0)
        bins = np.flatnonzero(inside)
        clipped[bins[0]] += counts[: bins[0]].sum()
        clipped[bins[-1]] += counts[bins[-1] + 1 :].sum()
        return _divergence(clipped, guess)

    return _searched(values, cost)


def _divergence(real: NDArray[Any], guess: NDArray[Any]) -> float:
    """Relative entropy of two counts; a bin that the guess leaves empty counts as a millionth."""
    p = real / real.sum()
    q = np.maximum(guess / max(float(guess.sum()), 1e-30), 1e-6)
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))


def _searched(values: Histogram, cost: Callable[[float, float], float]) -> Range:
    """The ends of least cost, one after the other; the upper one once more after the lower."""
    low, high = values.low, values.high
    for end in ("high", "low", "high"):
        if end == "high" and high > 0:
            high = min(values.high * _SHARES, key=partial(cost, low))
        if end == "low" and low < 0:
            low = min(values.low * _SHARES, key=partial(_swapped, cost, high))
    return float(low), float(high)


def _swapped(cost: Callable[[float, float], float], high: float, low: float) -> float:
    return cost(low, high)


CLIPPING: dict[str, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}


def rounding_noise(
    real: NDArray[np.float32], scale: float, zero_point: int, kind: DTypeLike
) -> float:
    """What rounding makes of values, as `channel_noise`.

    Args:
        real: Values, the channels last.
        scale: Between two levels.
        zero_point: The level that stands for zero.
        kind: The type of the levels.
    """
    limits = np.iinfo(kind)
    levels = np.clip(np.rint(real / scale) + zero_point, limits.min, limits.max)
    return channel_noise(real, levels, scale, zero_point)


def channel_noise(
    real: NDArray[np.float32], levels: NDArray[Any], scale: float, zero_point: int
) -> float:
    """Rounding error against a channel's size, averaged over channels.

    One large channel that takes all levels must not hide that the others lost theirs.

    Args:
        real: Values, the channels last.
        levels: The whole numbers that stand for them.
        scale: Between two levels.
        zero_point: The level that stands for zero.
    """
    rounded = (levels.astype(np.float64) - zero_point) * scale
    channels = np.asarray(real, np.float64).reshape(-1, real.shape[-1])
    error = np.abs(rounded.reshape(channels.shape) - channels).mean(0)
    size = np.abs(channels).mean(0)
    return float(np.mean(np.minimum(error / np.maximum(size, 1e-12), 1.0)))
