"""How sure a figure is: quantiles, bootstrap intervals, ratios of paired rounds.

Two processes that run the same artifact differ by a lasting per cent or so (where their memory
lies), so rounds within one launch are too much alike: an interval from them alone holds the truth
in 80 to 90 of 100 cases only (`studies/a_against_a.py`). All intervals here draw launches first,
then rounds within them.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13; Kalibera &
Jones, Rigorous Benchmarking in Reasonable Time (2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Series

Floats = NDArray[np.float64]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        """From end to end."""
        return self.high - self.low

    def to_json(self) -> list[float]:
        """[low, high]."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Comparison:
    """Two artifacts on one target.

    Attributes:
        a: The first.
        b: The second.
        ratio: Time of `b` as a multiple of that of `a`.
        interval: 95 % interval of the ratio.
        verdict: "b is faster", "b is slower", or "no difference shown".
    """

    a: str
    b: str
    ratio: float
    interval: Interval
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {
            "a": self.a,
            "b": self.b,
            "ratio": self.ratio,
            "ci95": self.interval.to_json(),
            "verdict": self.verdict,
        }


def bootstrap(
    launches: Sequence[Sequence[Floats]],
    statistic: Callable[[Floats], float],
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Interval:
    """95 % interval of a statistic of nested samples, by the percentile method.

    Args:
        launches: For each launch its rounds, each an array of values.
        statistic: From an array of values to a number.
        seed: Of the draws.
        resamples: How many times to draw.

    Returns:
        The interval; it holds the statistic of the samples themselves.
    """
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        picked = [launches[k] for k in rng.integers(0, len(launches), len(launches))]
        rounds = [r[k] for r in picked for k in rng.integers(0, len(r), len(r))]
        drawn[i] = statistic(np.concatenate(rounds))
    own = statistic(np.concatenate([values for rounds in launches for values in rounds]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(min(float(low), own), max(float(high), own))


def median_interval(series: Series, seed: int = 0, resamples: int = _RESAMPLES) -> Interval:
    """95 % interval of the median of a series, in its unit."""
    nested = [[np.array(s.values) for s in rounds] for rounds in series.launches]
    return bootstrap(nested, lambda values: float(np.median(values)), seed, resamples)


def compare(
    names: tuple[str, str],
    a: Series,
    b: Series,
    noise: float = 0.0,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Comparison:
    """Compare two series whose rounds alternated.

    Args:
        names: Of the two artifacts.
        a: The first series.
        b: The second; its rounds were taken right after (or before) those of `a`.
        noise: Smallest relative difference that means something, from A against A.
        seed: Of the bootstrap.
        resamples: How many times to draw.

    Returns:
        The comparison: ratio of the medians, paired by round.
    """
    paired = [
        [
            np.array([np.log(max(y.median, 1e-9) / max(x.median, 1e-9))])
            for x, y in zip(p, q, strict=False)
        ]
        for p, q in zip(a.launches, b.launches, strict=False)
    ]
    logs = bootstrap(paired, lambda values: float(np.median(values)), seed, resamples)
    ratio = float(np.exp(np.median(np.concatenate([r for rounds in paired for r in rounds]))))
    interval = Interval(float(np.exp(logs.low)), float(np.exp(logs.high)))
    return Comparison(*names, ratio, interval, _verdict(ratio, interval, noise))


def _verdict(ratio: float, interval: Interval, noise: float) -> str:
    if 1.0 in interval or abs(ratio - 1.0) <= noise:
        return "no difference shown"
    return "b is slower" if ratio > 1 else "b is faster"


def smallest_difference(twins: Comparison) -> float:
    """The smallest relative difference that a run can see, from an artifact against itself."""
    return max(abs(twins.interval.low - 1.0), abs(twins.interval.high - 1.0))


def outliers(values: Floats) -> int:
    """How many values lie above the third quartile by three times the quartiles' distance."""
    low, high = np.quantile(values, [0.25, 0.75])
    return int(np.sum(values > high + 3 * (high - low)))
