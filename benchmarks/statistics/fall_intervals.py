"""95 % intervals of a fall between two files on the same samples.

A sample that shows no change bounds how often one would change; it doesn't show that none does. Of
a few samples of which none changed, a bootstrap draws nothing but zeros.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_TAIL = 0.025
_Z = 1.959964
# Halvings of an interval of shares, to 1e-12.
_STEPS = 40


def paired_shares(lost: float, won: float, samples: float) -> tuple[float, float]:
    """Interval of the fall of a share, of decisions that are right or wrong before and after.

    Args:
        lost: Right before and wrong after.
        won: Wrong before and right after.
        samples: All of them.

    Returns:
        The ends, as shares of all samples.

    Source: Tango, Equivalence test and confidence interval for the difference in proportions for
        the paired-sample design (1998).

    >>> low, high = paired_shares(0, 0, 200)
    >>> round(low, 4), round(high, 4)
    (-0.0188, 0.0188)
    """
    return -_highest(won, lost, samples), _highest(lost, won, samples)


def _highest(lost: float, won: float, samples: float) -> float:
    """The largest fall that the samples don't contradict."""
    inside, outside = (lost - won) / samples, 1.0
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if _score(lost, won, samples, middle) >= -_Z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(lost: float, won: float, samples: float, fall: float) -> float:
    """The score statistic of a supposed fall; the share of losses is the likeliest under it."""
    a = 2 * samples
    b = (2 * samples - lost + won) * fall - lost - won
    c = -won * fall * (1 - fall)
    likeliest = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = samples * (2 * likeliest + fall * (1 - fall))
    difference = lost - won - samples * fall
    if variance <= 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / math.sqrt(variance)


def bootstrap_interval(drawn: NDArray[np.float64], samples: int) -> tuple[float, float] | None:
    """Interval of a figure from bootstrap draws, expanded as few samples need it.

    Args:
        drawn: (draws,) the figure over draws of the samples.
        samples: How many there are.

    Returns:
        The ends; None where most draws give no number.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993); for the expansion,
        Hesterberg, What Teachers Should Know About the Bootstrap (2015), section 4.1.
    """
    from scipy.stats import norm, t

    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) / 2:
        return None
    wide = math.sqrt(samples / (samples - 1)) * float(t.ppf(1 - _TAIL, samples - 1))
    tail = float(norm.cdf(-wide))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
