"""How sure a figure is: quantiles, bootstrap intervals, ratios of paired rounds.

Two processes that run the same artifact differ by a lasting per cent or so (where their memory
lies), so rounds within one launch are too much alike: an interval from them alone holds the truth
in 80 to 90 of 100 cases only (`studies/measuring/a_against_a.py`). All intervals here draw launches
first, then rounds within them.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13; Kalibera &
Jones, Rigorous Benchmarking in Reasonable Time (2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Series

Floats = NDArray[np.float64]

_RESAMPLES = 1000
_AT_ONCE = 2_000_000  # values drawn in one go


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


def bootstrap_median(
    launches: Sequence[Sequence[Floats]], seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """95 % interval of the median of nested samples, by the percentile method.

    Args:
        launches: For each launch its rounds, each an array of values.
        seed: Of the draws.
        resamples: How many times to draw.

    Returns:
        The interval; it holds the median of the samples themselves.
    """
    rng = np.random.default_rng(seed)
    regular = _as_box(launches)
    if regular is not None:
        drawn = _draw_from_box(regular, rng, resamples)
    else:
        drawn = np.array([_draw_once(launches, rng) for _ in range(resamples)])
    own = float(np.median(np.concatenate([v for rounds in launches for v in rounds])))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(min(float(low), own), max(float(high), own))


def _as_box(launches: Sequence[Sequence[Floats]]) -> Floats | None:
    """(launches, rounds, values) where all rounds are alike in size, else None."""
    sizes = {len(values) for rounds in launches for values in rounds}
    if len(sizes) > 1 or len({len(rounds) for rounds in launches}) > 1:
        return None
    return np.array([list(rounds) for rounds in launches])


def _draw_from_box(box: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Medians of many resamples at once, in parts that fit the memory."""
    launches, rounds, _ = box.shape
    at_once = max(1, _AT_ONCE // box.size)
    medians = []
    for begin in range(0, resamples, at_once):
        count = min(at_once, resamples - begin)
        chosen = rng.integers(0, launches, (count, launches, 1))
        within = rng.integers(0, rounds, (count, launches, rounds))
        medians.append(np.median(box[chosen, within].reshape(count, -1), axis=1))
    return np.concatenate(medians)


def _draw_once(launches: Sequence[Sequence[Floats]], rng: np.random.Generator) -> float:
    """The median of one resample of launches that differ in size."""
    picked = [launches[k] for k in rng.integers(0, len(launches), len(launches))]
    rounds = [r[k] for r in picked for k in rng.integers(0, len(r), len(r))]
    return float(np.median(np.concatenate(rounds)))


def median_interval(series: Series, seed: int = 0) -> Interval:
    """95 % interval of the median of a series, in its unit."""
    nested = [[np.array(s.values) for s in rounds] for rounds in series.launches]
    return bootstrap_median(nested, seed)


def compare(
    names: tuple[str, str],
    a: Series,
    b: Series,
    noise: float = 0.0,
    seed: int = 0,
) -> Comparison:
    """Compare two series whose rounds alternated.

    Args:
        names: Of the two artifacts.
        a: The first series.
        b: The second; its rounds were taken right after (or before) those of `a`.
        noise: Smallest relative difference that means something, from A against A.
        seed: Of the bootstrap.

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
    logs = bootstrap_median(paired, seed)
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
