"""Trials that fall behind are stopped; what nothing beats never is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.compress.training.loop.checkpoints import Snapshot, write_snapshot
from edgepress.deploy.searching.curves import WORST, Judged, Point, curve_of
from edgepress.deploy.searching.fronts import front
from edgepress.deploy.searching.pruners import ETA, PRUNERS, Stopping
from edgepress.deploy.searching.time_left import seconds_left

EPOCHS = 9
BOTH = Judged(("val_accuracy", "val_loss"), True, (True, True))
FIGURES = st.floats(-1, 1, allow_nan=False)
CURVES = st.lists(
    st.tuples(st.lists(FIGURES, min_size=1, max_size=EPOCHS), st.integers(1, 5)),
    min_size=1,
    max_size=12,
)


@given(CURVES, st.sampled_from(["asha", "hyperband"]), st.integers(1, 4))
def test_what_nothing_beats_where_it_is_compared_goes_on(
    drawn: list[tuple[list[float], int]], pruner: str, least: int
) -> None:
    curves: dict[int, list[Point]] = {
        n: [(value, float(cost)) for value in values] for n, (values, cost) in enumerate(drawn)
    }
    stopping, epochs = Stopping(pruner, least), dict.fromkeys(curves, EPOCHS)
    for trial, curve in curves.items():
        at = stopping.beaten_at(trial, curves, epochs)
        if at is None:
            continue
        assert at < EPOCHS
        assert len(curve) >= at
        rivals = {n: c[at - 1] for n, c in curves.items() if len(c) >= at}
        assert trial not in front(rivals) or pruner == "hyperband"


def test_of_many_at_a_rung_a_third_goes_on_and_none_without_a_pruner() -> None:
    curves: dict[int, list[Point]] = {n: [(float(n),)] * 3 for n in range(3 * ETA)}
    epochs = dict.fromkeys(curves, EPOCHS)
    stopped = [Stopping("asha", 2).beaten_at(n, curves, epochs) for n in curves]
    assert stopped == [None] * ETA + [2] * 2 * ETA
    assert {Stopping("none", 2).beaten_at(n, curves, epochs) for n in curves} == {None}
    # At the end there is nothing left to save.
    assert Stopping("asha", 3).beaten_at(8, curves, dict.fromkeys(curves, 3)) is None


def test_brackets_of_hyperband_begin_ever_later() -> None:
    found = [PRUNERS["hyperband"](trial, 2, 18) for trial in range(6)]
    assert [list(b.rungs(18)) for b in found if b] == [[2, 6], [6], []] * 2


def test_a_curve_without_a_number_is_behind_all_others() -> None:
    curves: dict[int, list[Point]] = {0: [(WORST, 1.0)]}
    assert Stopping("asha", 1).beaten_at(0, curves, {0: 9}) == 1


def test_the_curve_of_a_run_is_that_of_all_its_trainings(tmp_path: Path) -> None:
    done = tmp_path / "stages" / "01-prune-channels"
    done.mkdir(parents=True)
    history = {"loss": [2.0, 1.0], "val_accuracy": [0.5, 0.7]}
    result = {"history": history, "macs": 900, "params": 200, "sparsity": 0.25}
    (done / "result.json").write_text(json.dumps(result))
    state = tmp_path / "stages" / ".02-prune-weights.state" / "recover"
    state.mkdir(parents=True)
    (state / "cost.json").write_text('{"macs": 800}')
    arrays = {"model/0": np.array([1.0, 0.0, 3.0]), "best/0": np.ones(3)}
    facts = {"columns": {"val_accuracy": [0.6, float("nan")]}}
    write_snapshot(state / "training.npz", "key", Snapshot(arrays, facts))
    expected = [(-0.5, 900, 150), (-0.7, 900, 150), (-0.6, 800, 2), (WORST, 800, 2)]
    assert curve_of(tmp_path, BOTH) == expected
    assert curve_of(tmp_path, Judged(("val_loss",), True, (False, False))) == []
    (state / "training.npz").write_bytes(b"half")
    assert curve_of(tmp_path, BOTH) == expected[:2]
    assert curve_of(tmp_path / "none", BOTH) == []


@pytest.mark.parametrize(
    ("took", "trials", "running", "workers", "bound", "left"),
    [
        ([], 3, [], 1, None, None),
        ([10, 20], 3, [], 1, None, 45),
        ([10, 20], 4, [5, 100], 2, None, 35),
        ([10, 20], 40, [], 1, 100, 115),
        ([10], 0, [4], 4, None, 6),
    ],
)
def test_the_time_left_is_that_of_trials_like_those_before(
    took: list[float],
    trials: int,
    running: list[float],
    workers: int,
    bound: float | None,
    left: float | None,
) -> None:
    assert seconds_left(took, trials, running, workers, bound) == left
