"""Bootstrap draws that are the same wherever as many samples are drawn from.

So metrics that are no mean over samples are paired: each result keeps its metric over the same
draws of the same samples.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_AT_ONCE = 4_000_000  # counts drawn in one go
# Seconds that the draws of one metric may take.
_SECONDS = 5.0


def drawn_counts(n: int, draws: int, seed: int = 0) -> Iterator[Floats]:
    """Bootstrap draws as counts of each sample, (some draws, n), in blocks that fit the memory."""
    for chosen in drawn_indices(n, draws, seed):
        places = chosen + np.arange(len(chosen))[:, None] * n
        counts = np.bincount(places.ravel(), minlength=chosen.size).reshape(chosen.shape)
        yield counts.astype(float)


def drawn_indices(n: int, draws: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """The same draws as indices, (some draws, n)."""
    rng = np.random.default_rng(seed)
    while draws:
        size = min(draws, max(1, _AT_ONCE // n))
        yield rng.integers(0, n, (size, n))
        draws -= size


def resampled(
    scorer: Callable[[NDArray[Any] | None], float], n: int, draws: int, seconds: float = _SECONDS
) -> Floats:
    """A metric over bootstrap draws of its samples.

    Args:
        scorer: Gives the metric over the samples at some indices.
        n: Samples.
        draws: How many draws.
        seconds: When to stop with fewer: a metric may take long.

    Returns:
        (draws or fewer,) values, NaN where a draw leaves the metric undefined.
    """
    begin, found = time.monotonic(), []
    for block in drawn_indices(n, draws):
        for chosen in block:
            found.append(scorer(chosen))
            if time.monotonic() - begin > seconds:
                return np.array(found)
    return np.array(found)
