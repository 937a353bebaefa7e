"""Order, warm-up, stopping, failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretend import PretendSession, PretendTarget, entrant

from edgepress.benchmarks.accuracy import Judge
from edgepress.benchmarks.measurement import Environment, Samples, Series
from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.statistics.sampling import Plan, is_steady, sample, split, warm_up
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import sha256


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    sizes = {"a": 100, "b": 200, "c": 100}
    for name, size in sizes.items():
        (tmp_path / f"{name}.tflite").write_bytes(bytes(size))
    return [tmp_path / f"{name}.tflite" for name in sizes]


@given(st.integers(1, 2000), st.integers(1, 20), st.integers(1, 20))
def test_the_blocks_add_up_to_the_runs(runs: int, launches: int, rounds: int) -> None:
    blocks = Plan(runs=runs, launches=launches, rounds=rounds).blocks()
    assert sum(map(sum, blocks)) == runs
    assert len(blocks) <= launches
    assert all(1 <= len(b) <= rounds and min(b) >= 1 for b in blocks)


@given(st.integers(0, 1000), st.integers(1, 50))
def test_parts_differ_by_one_at_most(total: int, parts: int) -> None:
    shares = split(total, parts)
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_exactly_the_runs_that_were_asked_for_count(files: list[Path]) -> None:
    target = PretendTarget()
    records = sample([entrant(target, f) for f in files], Plan(runs=33, launches=2, rounds=4))
    assert [len(r.series().values) for r in records] == [33, 33, 33]
    assert all(r.steady and not r.failure and len(r.first_ns) == 2 for r in records)


def test_artifacts_alternate_and_never_run_one_after_the_other(files: list[Path]) -> None:
    target = PretendTarget()
    sample([entrant(target, f) for f in files], Plan(runs=40, launches=1, rounds=10))
    last = [name for name in target.log if not name.startswith(("open", "close"))][-30:]
    triples = [last[i : i + 3] for i in range(0, 30, 3)]
    assert all(len(set(triple)) == 3 for triple in triples)
    assert len({tuple(triple) for triple in triples}) > 1


def test_every_launch_is_a_fresh_process_and_is_closed(files: list[Path]) -> None:
    target = PretendTarget()
    sample([entrant(target, files[0])], Plan(runs=10, launches=5))
    assert target.log.count("open a.tflite") == target.log.count("close a.tflite") == 5


def test_cold_inferences_are_not_counted(files: list[Path]) -> None:
    target = PretendTarget(launch_noise=0.0)
    (record,) = sample([entrant(target, files[0])], Plan(runs=50))
    truth = 100 * 1000.0
    assert record.first_ns[0] > 3 * truth
    assert record.series().values.max() < 1.2 * truth


def test_a_failure_keeps_what_there_is_and_spares_the_others(files: list[Path]) -> None:
    target = PretendTarget(fail_after={"b.tflite": 60})
    records = sample([entrant(target, f) for f in files], Plan(runs=100, launches=1, rounds=10))
    assert records[1].failure == "the cable was pulled"
    assert 0 < len(records[1].series().values) < 100
    assert [len(records[i].series().values) for i in (0, 2)] == [100, 100]


def test_time_is_up_after_at_least_one_value(files: list[Path]) -> None:
    target = PretendTarget()
    (record,) = sample([entrant(target, files[0])], Plan(runs=10**6, rounds=50, max_seconds=0.05))
    assert 1 <= len(record.series().values) < 10**6


def test_warming_up_ends_when_nothing_gets_better() -> None:
    log: list[str] = []
    cold = PretendSession(1e5, np.random.default_rng(0), log, "a", cold=40)
    assert warm_up(cold, 10.0)
    assert cold.done >= 40
    assert not warm_up(PretendSession(1e5, np.random.default_rng(0), log, "a"), 0.0)


def test_falling_latency_is_not_steady() -> None:
    assert not is_steady([10.0, 8.0, 6.0, 5.0, 4.0])
    assert is_steady([10.0, 5.0, 5.1, 5.0])
    assert not is_steady([5.0, 5.0])


def test_the_true_ratio_lies_in_the_interval(files: list[Path]) -> None:
    target = PretendTarget(seed=2)
    chosen = candidates(files, (1,), (None,), RunOptions())
    result = measure(chosen, target, Plan(runs=200, launches=8))
    half, equal, _ = result.comparisons
    assert 2.0 in half.interval
    assert half.verdict == "b is slower"
    assert equal.verdict == "no difference shown"
    assert 0 < result.noise < 0.2


def test_precision_makes_it_go_on(files: list[Path]) -> None:
    chosen = candidates(files[:1], (1,), (None,), RunOptions())
    plan = Plan(runs=4, launches=2, max_seconds=20)
    once = measure(chosen, PretendTarget(), plan).measurements[0]
    more = measure(chosen, PretendTarget(), plan, precision=0.03).measurements[0]
    assert more.series.values.size > once.series.values.size == 4
    assert more.interval.width <= 0.03 * more.median_ms * 1e6


def test_an_accuracy_that_can_not_be_had_is_said(files: list[Path]) -> None:
    by = Judge("accuracy", "test", lambda: [({"x": np.ones(3)}, np.ones(3))], lambda o, t: 1.0, 3)
    chosen = candidates(files[:1], (1,), (None,), RunOptions())
    (seen,) = measure(chosen, PretendTarget(), Plan(runs=4), by=by).measurements
    (blind,) = measure(chosen, PretendTarget(gives_outputs=False), Plan(runs=4), by=by).measurements
    assert (seen.value, seen.facts.notes) == (1.0, ())
    assert blind.value is None
    assert "accuracy isn't measured on 'pretend'" in blind.facts.notes[0]


def test_what_a_file_gave_before_is_scored_without_it(files: list[Path]) -> None:
    """Files `a` and `c` have the same content."""
    x, truth = np.ones(3), np.array([0.0, 1.0, 1.0])
    given = {sha256(files[1]): {"y": truth}}

    def judged(options: RunOptions) -> tuple[list[float | None], list[str]]:
        by = Judge(
            "accuracy", "test", lambda: [({"x": x}, truth)],
            lambda o, t: float(np.mean(o[0] == t)), 3, known=given.get,
        )  # fmt: skip
        target = PretendTarget()
        chosen = candidates(files, (1,), (None,), options)
        found = measure(chosen, target, Plan(runs=4, launches=1), by=by).measurements
        timed = measure(chosen, PretendTarget(), Plan(runs=4, launches=1))
        assert len(timed.measurements) == 3
        opened = [line for line in target.log if line.startswith("open")]
        return [m.value for m in found], opened[4:]  # after the three and the first one's twin

    values, opened = judged(RunOptions())
    assert values[1] == 1.0
    assert values[0] == values[2] < 1.0
    assert opened == ["open a.tflite"]
    assert judged(RunOptions(xnnpack=False))[1] == ["open a.tflite", "open b.tflite"]


def test_an_emulator_is_never_ranked(files: list[Path]) -> None:
    chosen = candidates(files, (1,), (None,), RunOptions())
    result = measure(chosen, PretendTarget(timing_valid=False), Plan(runs=10))
    assert result.comparisons == ()
    assert all(not m.timing_valid for m in result.measurements)


def test_every_combination_has_its_own_name(files: list[Path]) -> None:
    found = candidates(files[:2], (1, 2), (None, 8), RunOptions())
    assert len({c.name for c in found}) == len({c.label for c in found}) == 8
    assert found[0].name.startswith(str(files[0]))
    with pytest.raises(InputError, match="named twice"):
        candidates([files[0], files[0]], (1,), (None,), RunOptions())


def test_a_figure_without_number_unit_or_method_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        Samples("latency", "ns", "clock", ())
    with pytest.raises(ValueError, match="a unit and a method"):
        Samples("latency", "ns", "", (1.0,))
    with pytest.raises(ValueError, match="finite"):
        Samples("latency", "ns", "clock", (float("nan"),))
    one = Samples("latency", "ns", "clock", (1.0,))
    with pytest.raises(ValueError, match="mix"):
        Series(((one, replace(one, unit="cycles")),))


def test_the_state_of_the_machine_is_warned_of() -> None:
    calm = {"cores": 4, "load": [0.1, 0, 0], "steal_ticks": 5, "frequency_mhz": 1800.0}
    assert Environment(calm, calm).warnings() == ()
    busy = {**calm, "load": [3.9, 1, 1]}
    hot = {**calm, "frequency_mhz": 900.0, "temperature_c": 85.0, "throttled": "throttled=0x50005"}
    text = " ".join(Environment(busy, hot).warnings())
    assert all(word in text for word in ("busy", "frequency fell", "85 °C", "throttling"))
