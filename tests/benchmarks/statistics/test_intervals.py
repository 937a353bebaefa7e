"""Intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.benchmarks.measurement import Samples, Series
from edgepress.benchmarks.statistics.intervals import (
    Interval,
    bootstrap_median,
    compare,
    median_interval,
    outliers,
    smallest_difference,
)

times = st.floats(1.0, 1e9, allow_nan=False)
rounds = st.lists(st.lists(times, min_size=1, max_size=5), min_size=1, max_size=4)
nested = st.lists(rounds, min_size=1, max_size=4)


def as_series(values: list[list[list[float]]]) -> Series:
    return Series(
        tuple(
            tuple(Samples("latency", "ns", "given", tuple(block)) for block in launch)
            for launch in values
        )
    )


def drawn(rng: np.random.Generator, median: float, launch: float, inner: float) -> Series:
    """5 launches of 10 rounds of 4, with a lasting error in each launch."""
    return as_series(
        [
            [list(off * rng.lognormal(np.log(median), inner, 4)) for _ in range(10)]
            for off in np.exp(rng.normal(0, launch, 5))
        ]
    )


@given(nested)
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_median_and_stays_within_the_values(
    values: list[list[list[float]]],
) -> None:
    series = as_series(values)
    interval = median_interval(series)
    assert float(np.median(series.values)) in interval
    assert series.values.min() <= interval.low <= interval.high <= series.values.max()


@given(nested, st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_an_artifact_against_itself_is_equal(values: list[list[list[float]]], seed: int) -> None:
    series = as_series(values)
    same = compare(("a", "b"), series, series, seed=seed)
    assert same.ratio == pytest.approx(1.0)
    assert 1.0 in same.interval
    assert same.verdict == "no difference shown"
    assert smallest_difference(same) == pytest.approx(0.0)


@given(nested, st.floats(1.5, 10.0))
@settings(max_examples=30, deadline=None)
def test_a_constant_factor_is_found_exactly(values: list[list[list[float]]], factor: float) -> None:
    series = as_series(values)
    slower = as_series([[[v * factor for v in b] for b in launch] for launch in values])
    found = compare(("a", "b"), series, slower)
    assert found.ratio == pytest.approx(factor)
    assert found.verdict == "b is slower"
    back = compare(("b", "a"), slower, series)
    assert back.ratio == pytest.approx(1 / factor)
    assert back.verdict == "b is faster"


def test_the_ratio_of_equal_artifacts_covers_one_despite_lasting_errors() -> None:
    rng = np.random.default_rng(7)
    pairs = [(drawn(rng, 1e6, 0.01, 0.02), drawn(rng, 1e6, 0.01, 0.02)) for _ in range(60)]
    covered = sum(1.0 in compare(("a", "b"), a, b).interval for a, b in pairs)
    assert covered >= 50  # 95 % nominal; a bootstrap over rounds alone reaches some 30


def test_the_interval_of_the_median_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    series = [drawn(rng, 1e6, 0.02, 0.05) for _ in range(60)]
    assert sum(1e6 in median_interval(s) for s in series) >= 50


def test_a_difference_within_the_noise_is_no_verdict() -> None:
    a = as_series([[[100.0], [100.0]]])
    b = as_series([[[102.0], [102.0]]])
    assert compare(("a", "b"), a, b, noise=0.03).verdict == "no difference shown"
    assert compare(("a", "b"), a, b, noise=0.01).verdict == "b is slower"


def test_more_launches_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    few = [[rng.normal(100, 5, 4)] for _ in range(3)]
    many = [[rng.normal(100, 5, 4)] for _ in range(100)]
    widths = [bootstrap_median(n).width for n in (few, many)]
    assert widths[1] < widths[0]


def test_uneven_rounds_give_what_even_ones_give() -> None:
    rng = np.random.default_rng(1)
    even = [[rng.normal(100, 5, 6) for _ in range(8)] for _ in range(6)]
    uneven = [rounds[:-1] if i == 0 else rounds for i, rounds in enumerate(even)]
    a, b = bootstrap_median(even), bootstrap_median(uneven)
    assert abs(a.low - b.low) < 1
    assert abs(a.high - b.high) < 1


def test_outliers_are_counted() -> None:
    values = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 50.0])
    assert outliers(values) == 1
    assert outliers(np.ones(5)) == 0


def test_an_interval_knows_what_it_holds() -> None:
    interval = Interval(1.0, 2.0)
    assert 1.5 in interval
    assert 2.5 not in interval
    assert interval.to_json() == [1.0, 2.0]
    assert Interval(1.5, 4.0).width == 2.5


def test_a_ratio_must_leave_the_noise_and_its_interval_one() -> None:
    a, twice = as_series([[[1.0], [1.0]]] * 3), as_series([[[2.0], [2.0]]] * 3)
    found = compare(("a", "b"), a, twice)
    assert (found.ratio, found.interval.low, found.interval.high) == (2.0, 2.0, 2.0)
    assert found.verdict == "b is slower"
    assert compare(("a", "b"), a, twice, noise=0.99).verdict == "b is slower"
    assert compare(("a", "b"), a, twice, noise=1.0).verdict == "no difference shown"
    # Half of the launches say twice as long, half say half as long.
    torn = as_series([[[0.5], [0.5]], [[2.0], [2.0]], [[2.0], [2.0]]])
    found = compare(("a", "b"), a, torn)
    assert 1.0 in found.interval
    assert (found.ratio, found.verdict) == (2.0, "no difference shown")


@given(st.floats(1e-3, 1e6), st.floats(-1e6, 1e6))
def test_outliers_do_not_depend_on_the_unit(scale: float, shift: float) -> None:
    # The quartiles are 1 and 3: above 9 is outside.
    values = np.array([0.0, 1.0, 2.0, 3.0, 8.5])
    assert outliers(scale * values + shift) == 0
    assert outliers(scale * np.array([0.0, 1.0, 2.0, 3.0, 9.5]) + shift) == 1
