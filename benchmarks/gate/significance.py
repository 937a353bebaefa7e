"""Whether a metric changed, or only its samples' luck.

Source: McNemar, Note on the sampling error of the difference between correlated proportions (1947),
in its exact form; Newcombe, Interval estimation for the difference between independent proportions
(1998), method 10; Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.gate.outcomes import Outcomes, Result
from edgepress.benchmarks.gate.resampling import drawn_counts

LEVEL = 0.05
_RESAMPLES = 2000
FEWEST = 6  # with fewer, no paired test can reach 0.05


@dataclass(frozen=True)
class Evidence:
    """What the samples say of a difference.

    Attributes:
        significant: Whether it is more than luck, at 5 %.
        words: The test and its figures.
        method: Name of the test.
        samples: Samples of today's metric.
        p_value: Where the test gives one.
        interval: 95 % interval of `after - before`, where the test gives one.
    """

    significant: bool
    words: str
    method: str
    samples: int | None = None
    p_value: float | None = None
    interval: tuple[float, float] | None = None


def paired(before: Result, after: Result) -> Evidence:
    """Test the same samples before and after.

    Args:
        before: Earlier outcomes.
        after: Present ones, of the same samples in the same order.
    """
    if isinstance(before, Outcomes) and isinstance(after, Outcomes) and _decided(before, after):
        return _mcnemar(before, after)
    n = after.n
    if n < FEWEST:
        return Evidence(False, f"{n} samples are too few for a test", "none", n)
    one, other = resampled_together(before, after)
    interval = interval_of(other - one)
    return Evidence(
        _excludes_zero(interval),
        f"{n} samples, paired bootstrap: 95 % interval of the change {_shown(interval)}",
        "paired bootstrap",
        n,
        interval=interval,
    )


def resampled_together(
    before: Result, after: Result
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two metrics over the same bootstrap draws of their samples, (draws,) each.

    Args:
        before: Earlier outcomes.
        after: Present ones, of the same samples in the same order.
    """
    if isinstance(before, Outcomes) and isinstance(after, Outcomes):
        # One pass: to draw takes longer than to score.
        pairs = [(before.over(c), after.over(c)) for c in drawn_counts(after.n, _RESAMPLES)]
        one, other = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        return one, other
    one, other = before.resampled(_RESAMPLES), after.resampled(_RESAMPLES)
    both = min(len(one), len(other))
    return one[:both], other[:both]


def _decided(*results: Outcomes) -> bool:
    return all(result.decisions for result in results)


def _mcnemar(before: Outcomes, after: Outcomes) -> Evidence:
    from scipy.stats import binomtest

    lost = int(np.sum((before.parts > 0.5) & (after.parts < 0.5)))
    won = int(np.sum((before.parts < 0.5) & (after.parts > 0.5)))
    p = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return Evidence(
        p < LEVEL,
        f"of {after.n} samples {lost} were lost and {won} won: McNemar's exact test, p = {p:.2g}",
        "McNemar's exact test",
        after.n,
        p,
    )


def unpaired(
    before: tuple[float, Result | None], after: tuple[float, Result], why: str
) -> Evidence:
    """Judge a difference without the same samples on both sides: a wider interval.

    Args:
        before: Earlier value, and its outcomes where they are known; else as many samples as
            today's, spread alike, are taken for granted.
        after: Present value and outcomes.
        why: Why the samples can't be paired.
    """
    value, old = before
    new = after[1]
    if new.n < FEWEST:
        return Evidence(False, f"{new.n} samples are too few for a test", "none", new.n)
    if new.decisions and (old is None or old.decisions):
        interval = _newcombe((value, old.n if old else new.n), (after[0], new.n))
        method = "Newcombe's interval"
    else:
        drawn = new.resampled(_RESAMPLES)
        # In another order: the same draws of the same samples would be a paired test.
        other = (old.resampled(_RESAMPLES) if old else value + drawn - new.value)[::-1]
        both = min(len(drawn), len(other))
        interval, method = interval_of(drawn[:both] - other[:both]), "bootstrap"
    words = f"{new.n} samples, unpaired ({why}), {method}: 95 % interval of the change"
    return Evidence(
        _excludes_zero(interval),
        f"{words} {_shown(interval)}",
        f"unpaired, {method}",
        new.n,
        interval=interval,
    )


def _newcombe(before: tuple[float, int], after: tuple[float, int]) -> tuple[float, float]:
    """95 % interval of the difference of two shares of different samples."""
    from scipy.stats import binomtest

    def wilson(share: float, n: int) -> tuple[float, float]:
        right = min(n, max(0, round(share * n)))
        found = binomtest(right, n).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    (p, (p_low, p_high)), (q, (q_low, q_high)) = (
        (share, wilson(share, n)) for share, n in (before, after)
    )
    low = q - p - float(np.hypot(q - q_low, p_high - p))
    return low, q - p + float(np.hypot(q_high - q, p - p_low))


def interval_of(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of what was drawn, as far as it is finite; endless where nothing is."""
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return -np.inf, np.inf
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _excludes_zero(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def _shown(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.4g} to {interval[1]:+.4g}"
