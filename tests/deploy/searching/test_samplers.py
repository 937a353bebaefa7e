"""What draws recipes: spread out first, the same after a stop, always inside the space."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import make_spec
from edgepress.deploy.searching.samplers import SAMPLERS
from edgepress.deploy.searching.space import SearchRecipe
from edgepress.deploy.searching.study import (
    accepted_points,
    curves_of,
    draw,
    open_study,
    record,
)
from edgepress.deploy.searching.trial import Outcome

GOALS = ("maximize", "minimize")
SPREAD, TRIALS = 8, 12


def recipe(sampler: str, seed: int = 0) -> SearchRecipe:
    values = {
        "model": "m.keras",
        "data": "d.npz",
        "seed": seed,
        "prune": [{"structure": "channels", "target_macs": 0.5}],
        "search": {
            "space": {
                "prune.0.target_macs": {"low": 0.2, "high": 0.9},
                "prune.0.criterion": ["l1", "taylor"],
            },
            "objectives": ["metric", "macs"],
            "sampler": sampler,
        },
    }
    return make_spec(SearchRecipe, values)


def drawn(plan: SearchRecipe, path: Path, stops: tuple[int, ...] = ()) -> list[tuple[float, int]]:
    """Draw trials of a made-up search, which is opened again where it was stopped."""
    pytest.importorskip("optuna")
    found = []
    study = open_study(path, plan, GOALS, 1)
    for turn in range(TRIALS):
        if turn in stops:
            study = open_study(path, plan, GOALS, 1)
        number, values = draw(study, plan, 1)
        share = values["prune.0.target_macs"]
        found.append((share, values["prune.0.criterion"]))
        record(study, number, Outcome((share**0.2, share), share > 0.3, "", "m.tflite", {}, "0"))
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_stopped_search_draws_what_it_would_have_drawn(sampler: str, tmp_path: Path) -> None:
    plan = recipe(sampler)
    whole = drawn(plan, tmp_path / "one")
    assert drawn(plan, tmp_path / "two", stops=(3, 9)) == whole
    assert all(0.2 <= share <= 0.9 and choice in (0, 1) for share, choice in whole)
    assert len(set(whole)) == TRIALS
    assert {choice for _, choice in whole} == {0, 1}
    assert drawn(recipe(sampler, seed=1), tmp_path / "three")[1:] != whole[1:]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_points_leave_no_part_of_a_range_out(seed: int, tmp_path: Path) -> None:
    """A part of an eighth of the range that none of seven points lies in is the only one."""
    found = drawn(recipe("tpe", seed), tmp_path / "study")[2:SPREAD]
    eighths = {int((share - 0.2) / 0.7 * 8) for share, _ in found}
    assert len(eighths) == len(found)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_knows_what_every_trial_breaks_and_which_were_stopped(
    sampler: str, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    plan = recipe(sampler)
    study = open_study(tmp_path / "study", plan, GOALS, 1)
    for turn in range(SPREAD + 6):
        number, values = draw(study, plan, 1)
        share = values["prune.0.target_macs"]
        breaks = {"max-drop": 0.5 - share}
        stopped = Outcome(reason="stopped early", stopped=2, curve=[(-0.5, share)])
        whole = Outcome((share**0.2, share), share > 0.5, "", "m.tflite", {}, "0", False, breaks)
        record(study, number, stopped if turn % 4 == 3 else whole)
    told = {t.number: t for t in study.trials}
    for turn, trial in told.items():
        share = trial.params["prune.0.target_macs"]
        assert (trial.state.name == "PRUNED") == (turn % 4 == 3)
        assert trial.constraints == ({} if turn % 4 == 3 else {"max-drop": 0.5 - share})
    assert set(curves_of(study)) == {n for n in told if n % 4 == 3}
    assert not set(accepted_points(study)) & set(curves_of(study))
    # It is opened again like any other.
    assert len(open_study(tmp_path / "study", plan, GOALS, 1).trials) == len(told)


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 48), ("nsga2", 96)])
def test_samplers_go_where_less_is_broken(sampler: str, trials: int, tmp_path: Path) -> None:
    """Only small shares are allowed, though large ones are best in the first objective."""
    pytest.importorskip("optuna")
    plan = recipe(sampler)
    study = open_study(tmp_path / "study", plan, GOALS, 1)
    shares = []
    for _ in range(trials):
        number, values = draw(study, plan, 1)
        share = values["prune.0.target_macs"]
        shares.append(share)
        over = {"max-bytes": share / 0.3 - 1}
        record(study, number, Outcome((share, 1.0), share <= 0.3, "", "m", {}, "0", False, over))
    late = shares[trials // 2 :]
    # A seventh of the range.
    assert sum(share <= 0.3 for share in late) > len(late) / 3


def test_an_unknown_sampler_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="nsga2"):
        recipe("nsga")
