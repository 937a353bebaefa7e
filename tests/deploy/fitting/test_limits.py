"""What may not be exceeded, what comes near it, and what it would take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow
from edgepress.benchmarks.records.rows import Comparison
from edgepress.benchmarks.records.search import TrialRecord
from edgepress.compress.errors import CheckFailed
from edgepress.deploy.fitting.choosing import Tried
from edgepress.deploy.fitting.limits import held
from edgepress.deploy.fitting.outcome import nearest
from edgepress.deploy.fitting.plans import Plan
from edgepress.deploy.fitting.spec import FitSpec
from edgepress.deploy.searching.limits import limits_of

GIVEN = BenchmarkRow(artifact="given", bytes=100_000, arena_bytes=40_000, median_ms=2.0)
FLOOR = 0.01


def spec(**options: object) -> FitSpec:
    return FitSpec.model_validate(options)


def test_a_share_is_one_of_the_given_models_float_file() -> None:
    ram, size = limits_of(spec(max_ram="50%", max_bytes="64kB").limits, GIVEN)
    assert ram.over({"ram": 30_000}) == pytest.approx(0.5)
    assert ram.over({"ram": 20_000}) == 0
    assert size.over({"bytes": 32_000}) == pytest.approx(-0.5)
    with pytest.raises(CheckFailed, match="latency of the given model's float file"):
        limits_of(spec(max_latency=0.5).limits, BenchmarkRow(artifact="given"))


def test_a_share_of_the_latency_is_that_of_files_timed_in_turns() -> None:
    (limit,) = limits_of(spec(max_latency="50%").limits, GIVEN)
    assert limit.over({"latency": 1.4, "latency_ratio": 0.5}) == 0
    assert limit.over({"latency": 1.4, "latency_ratio": None}) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("asked", "median", "interval", "verdict"),
    [
        ("1ms", 0.8, (0.7, 0.9), "kept"),
        ("1ms", 0.98, (0.9, 1.1), "not shown"),
        ("1ms", 0.98, None, "not shown"),
        ("1ms", 1.2, (0.9, 1.3), "missed"),
        ("50%", 0.8, (0.7, 0.9), "kept"),
        ("45%", 0.8, (0.7, 0.9), "not shown"),
        ("30%", 0.8, (0.7, 0.9), "missed"),
    ],
)
def test_a_latency_is_kept_where_its_whole_interval_is(
    asked: str, median: float, interval: tuple[float, float] | None, verdict: str
) -> None:
    row = BenchmarkRow(artifact="file", median_ms=median, ci95_ms=interval)
    ratio = Comparison(a="given", b="file", ratio=median / 2, ci95=(0.35, 0.47))
    measured = BenchmarkRecord(rows=(GIVEN, row), comparisons=(ratio,))
    (limit,) = limits_of(spec(max_latency=asked).limits, GIVEN)
    assert held(limit, measured, GIVEN, row).verdict == verdict


def test_bytes_are_exact_and_what_was_not_measured_is_not_shown() -> None:
    (limit,) = limits_of(spec(max_bytes="50%").limits, GIVEN)
    measured = BenchmarkRecord()
    for size, verdict in ((50_000, "kept"), (50_001, "missed"), (None, "not shown")):
        row = BenchmarkRow(artifact="file", bytes=size)
        assert held(limit, measured, GIVEN, row).verdict == verdict


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.floats(1e3, 9e4)), min_size=1, max_size=8),
    st.sampled_from(["20%", "5kB", "33333B"]),
)
def test_what_comes_near_would_pass_with_what_it_needs(
    points: list[tuple[float, float]], most: str
) -> None:
    limits = limits_of(spec(max_bytes=most).limits, GIVEN)
    figures = [{"bytes": size} for _, size in points]
    tried = [
        Tried(Plan(), 0, 1.0, size, drop, limits[0].over({"bytes": size})) for drop, size in points
    ]
    trials = [
        TrialRecord(number=n, folder=f"trials/{n:04d}", artifact="m.tflite", figures=found,
                    values={"plan": "all channels", "epochs": 0, "quantize": "int8"})
        for n, found in enumerate(figures)
    ]  # fmt: skip
    for near in nearest(tried, trials, limits, FLOOR):
        words = dict(need.removeprefix("--").split(" ") for need in near.needs)
        passed = spec(**{name.replace("-", "_"): text for name, text in words.items()})
        one = tried[near.trial]
        assert (one.drop or 0) <= (passed.max_drop if "max-drop" in words else FLOOR)
        for limit in limits_of(passed.limits, GIVEN):
            assert limit.over(figures[near.trial]) <= 1e-9
        assert bool(words) != one.keeps(FLOOR)
