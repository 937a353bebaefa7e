"""The front is that of the last measurement; a search that found nothing says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.benchmarks.records import BenchmarkRecord, RunRecord
from edgepress.benchmarks.records.rows import NOT_REAL
from edgepress.benchmarks.records.search import SearchRecord, TrialRecord
from edgepress.benchmarks.report.search_page import search_view, write_search_page
from edgepress.deploy.searching.fronts import front, shortlist
from edgepress.deploy.searching.last_measurement import measured_front
from edgepress.deploy.searching.trial import _timed

OBJECTIVES, SIGNS = ("metric", "latency"), (-1.0, 1.0)
_POINTS = st.dictionaries(
    st.integers(0, 30), st.tuples(st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=12
)


def measured(times: dict[int, float], real: bool = True) -> BenchmarkRecord:
    rows = [{"artifact": f"{n}", "sha256": f"hash {n}", "median_ms": ms, "timing_valid": real,
             "device": "local"} for n, ms in times.items()]  # fmt: skip
    return BenchmarkRecord.model_validate({"rows": rows})


def files(numbers: Any) -> dict[int, str | None]:
    return {n: f"hash {n}" for n in numbers}


@given(_POINTS, st.randoms(use_true_random=False))
def test_the_front_is_that_of_the_last_measurement(
    points: dict[int, tuple[float, float]], random: Any
) -> None:
    again = {n: random.uniform(0.1, 5) for n in points}
    signed = {n: (-metric, ratio) for n, (metric, ratio) in points.items()}
    best = measured_front(OBJECTIVES, SIGNS, signed, files(points), measured(again))
    for n, (metric, _) in points.items():
        beaten = any(
            other >= metric and again[m] <= again[n] and (other > metric or again[m] < again[n])
            for m, (other, _) in points.items()
        )
        assert (n in best.numbers) == (not beaten)
        assert best.figures[n]["latency"] == again[n]


@given(_POINTS, st.integers(1, 12))
def test_what_is_measured_once_more_holds_the_front(
    points: dict[int, tuple[float, float]], most: int
) -> None:
    found = shortlist(points, most)
    assert set(front(points)) <= set(found)
    assert len(found) <= max(most, len(front(points)))
    assert len(found) == len(set(found)) >= min(most, len(points))


def test_a_last_measurement_that_failed_is_said() -> None:
    best = measured_front(OBJECTIVES, SIGNS, {1: (0, 1)}, files([1]), BenchmarkRecord())
    assert best.numbers == [1]
    assert "failed" in best.by
    emulated = measured_front(OBJECTIVES, SIGNS, {1: (0, 1)}, files([1]), measured({1: 2.0}, False))
    assert NOT_REAL in emulated.by


def test_a_trials_latency_is_held_against_the_source_in_the_same_run() -> None:
    rows = [{"artifact": a, "sha256": a, "median_ms": ms} for a, ms in (("s", 4.0), ("f", 1.0))]
    run = RunRecord.model_validate(
        {
            "stages": [{"name": "00-source", "float_sha256": "s"}],
            "artifacts": [{"path": "artifacts/f.tflite", "sha256": "f"}],
            "benchmark": {"rows": rows},
        }
    )
    row, ratio = _timed(run, run.artifacts[0])
    assert row is not None
    assert (row.median_ms, ratio) == (1.0, 0.25)


@pytest.mark.parametrize("front", [(), (0,)])
def test_the_page_shows_the_front_or_the_reason_of_each_trial(
    tmp_path: Path, front: tuple[int, ...]
) -> None:
    found = SearchRecord(
        objectives=OBJECTIVES,
        metric="accuracy",
        split="test",
        trials=(
            TrialRecord(number=0, folder="trials/0000", figures={"latency": 0.5, "metric": 0.9}),
            TrialRecord(number=1, folder="trials/0001", reason="accuracy fell by too much"),
        ),
        front=front,
        headline="what came out",
        benchmark=measured({0: 0.5}),
    )
    write_search_page(found, [], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for words in ("what came out", "accuracy fell by too much", "trials/0000", "500 µs"):
        assert words in page
    assert (search_view(found)["front"] is not None) == bool(front)
