"""A search runs whole lines, keeps what nothing beats, and goes on after a stop."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from edgepress.benchmarks.report import report
from edgepress.compress import load, open_data
from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.deploy import search
from edgepress.deploy.cli.main import cli
from edgepress.deploy.pipeline.pipeline import RunResult, run
from edgepress.deploy.recipe import AcceptSpec, Recipe, read_recipe
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.space import (
    SearchRecipe,
    SearchSpec,
    distributions,
    drawn_of,
    ends,
    values_of,
)
from edgepress.deploy.searching.study import begun, draw, open_study
from edgepress.deploy.searching.trial import Outcome, judge

LINE: dict[str, Any] = {
    "model": "edgepress.deploy.demo:network",
    "data": {"spec": "edgepress.deploy.demo:digits", "scale": "1/16"},
    "prune": [{"structure": "channels", "target_macs": 0.5}],
    "export": {"formats": ["tflite"], "quantize": ["float32"]},
    "benchmark": {"runs": 5, "launches": 1},
}


def recipe(line: dict[str, Any] = LINE, /, **search: Any) -> SearchRecipe:
    return SearchRecipe.model_validate({**line, "search": search})


@pytest.fixture(scope="module")
def line(digits_model: Path) -> dict[str, Any]:
    """The line with a model that is trained once, not by every process of a search."""
    return {**LINE, "model": str(digits_model)}


def test_without_a_space_the_shares_of_the_pruning_steps_vary() -> None:
    assert list(recipe().space()) == ["prune.0.target_macs"]


def test_what_is_drawn_stands_in_the_recipe() -> None:
    varied = recipe(
        space={
            "prune.0.target_macs": {"low": 0.3, "high": 0.8},
            "prune.0.criterion": ["l1", "taylor"],
            "prune.0.recover_epochs": {"low": 1, "high": 9},
        }
    )
    assert len(list(ends(varied))) == 6
    drawn = {"prune.0.target_macs": 0.4, "prune.0.criterion": 1, "prune.0.recover_epochs": 3}
    plain = varied.with_values(values_of(varied, drawn))
    step = plain.prune[0]
    assert (step.target_macs, step.criterion, step.recover_epochs) == (0.4, "taylor", 3)
    assert drawn_of(varied, values_of(varied, drawn)) == drawn
    assert set(distributions(varied)) == set(drawn)


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"space": {"prune.1.target_macs": [0.5]}}, "prune.1.target_macs"),
        ({"space": {"prune.0.recover_epochs": [-1]}}, "recover_epochs"),
        ({"space": {"prune.0.target_macs": {"low": 0.9, "high": 0.3}}}, "above"),
        ({"space": {"prune.0.target_macs": []}}, "no values"),
        ({"objectives": ["speed"]}, "speed"),
        ({"pruner": "median"}, "hyperband"),
        ({"objectives": ["ram"], "format": "onnx"}, "ONNX files have memory"),
        ({"objektives": ["latency"]}, "objektives"),
    ],
)
def test_a_wrong_search_is_one_line(tmp_path: Path, part: dict[str, Any], word: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**LINE, "search": part}))
    with pytest.raises(InputError) as caught:
        list(ends(read_recipe(path, SearchRecipe)))
    assert word in caught.value.format_message()
    assert "\n" not in caught.value.format_message()
    assert not (tmp_path / "run").exists()


def test_the_first_trial_is_the_recipe_as_it_stands(tmp_path: Path) -> None:
    varied = recipe(space={"prune.0.target_macs": [0.7, 0.5]})
    study = open_study(tmp_path / "study.journal", varied, ["maximize", "minimize"], 1)
    assert begun(study) == 0
    number, drawn = draw(study, varied, 1)
    assert (number, begun(study)) == (0, 1)
    assert values_of(varied, drawn) == {"prune.0.target_macs": 0.5}


PLUGIN = """
import numpy as np
from edgepress.compress import load
from edgepress.deploy.searching.objectives import Objective

# The weights of the exported model that are not zero.
def read(figures):
    return float(sum(np.count_nonzero(w) for w in load(figures["model"]).get_weights()))

nonzero = Objective("weights", read)
"""


def test_every_objective_gives_a_figure_of_a_finished_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: dict[str, Any]
) -> None:
    package = tmp_path / "packages"
    declared = package / "nonzero-1.0.dist-info"
    declared.mkdir(parents=True)
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: nonzero\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text(
        "[edgepress.objectives]\nnonzero = counted:nonzero\n"
    )
    (package / "counted.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(package)
    # Few machines count energy.
    named = [name for name in OBJECTIVES if name != "energy"]
    varied = recipe(line, space={"prune.0.target_macs": [0.5]}, objectives=named)
    plain = varied.with_values({"prune.0.target_macs": 0.5})
    done = run(plain, tmp_path / "trial")
    data = open_data(plain.data, load(plain.model), plain.seed)
    outcome = judge(0, done.folder, varied.search, plain, data)
    assert outcome.reason == ""
    assert len(outcome.values) == len(named) == 9
    for name, value in zip(named, outcome.values, strict=True):
        assert math.isfinite(value), name
        assert value > 0
        # The task's metric has a direction of its own.
        assert (OBJECTIVES[name].smaller is None) == (name == "metric")
    assert data.task.higher_is_better
    assert OBJECTIVES["energy"].read({"row": {"energy_mj": 0.3}}) == 0.3
    assert "energy was not measured" in judged(done, plain, data, objectives=("energy",)).reason
    accept = AcceptSpec(max_bytes=0.1, max_ram=1.0, max_latency=1e-3)
    limited = plain.model_copy(update={"accept": accept})
    breaks = judged(done, limited, data).constraints
    assert breaks["max-bytes"] > 0 >= breaks["max-ram"]
    assert breaks["max-latency"] > 0
    assert outcome.accepted
    assert max(outcome.constraints.values()) <= 0


def judged(done: RunResult, plain: Recipe, data: Dataset, **search: Any) -> Outcome:
    """What a finished trial comes to in another search."""
    asked = SearchSpec.model_validate({"objectives": ("macs",), **search})
    return judge(0, done.folder, asked, plain, data, given=0.9)


def test_nothing_to_vary_and_nothing_to_resume_are_said(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    plain = {**line, "prune": []}
    with pytest.raises(InputError, match="nothing to vary"):
        search(SearchRecipe.model_validate(plain), tmp_path / "run")
    unknown = recipe(line, space={"prune.0.criterion": ["l3"]})
    with pytest.raises(InputError, match="l3"):
        search(unknown, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    result = CliRunner().invoke(cli, ["search", "--resume", str(tmp_path)])
    assert result.exit_code == 2


@pytest.fixture
def two_trials(tmp_path: Path, line: dict[str, Any]) -> Path:
    """A search's recipe."""
    path = tmp_path / "recipe.yaml"
    part = {"space": {"prune.0.target_macs": [0.5, 0.7]}, "objectives": ["metric", "macs"]}
    path.write_text(yaml.safe_dump({**line, "search": part}))
    return path


@pytest.mark.slow
def test_a_stopped_search_goes_on(tmp_path: Path, two_trials: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "edgepress.deploy.cli", "search"]
    first = subprocess.Popen(
        [*command, str(two_trials), "-o", str(run), "--trials", "2"], start_new_session=True
    )
    while not (run / "trials" / "0000" / "run.json").exists() and first.poll() is None:
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(300) in (0, 130)
    kept_what_nothing_beats(run, "--resume", str(run))


def test_a_search_keeps_what_nothing_beats(tmp_path: Path, two_trials: Path) -> None:
    run = tmp_path / "run"
    kept_what_nothing_beats(run, str(two_trials), "-o", str(run))


def kept_what_nothing_beats(run: Path, *words: str) -> None:
    """A search of two trials ends with them, and its front is what nothing beats."""
    done = CliRunner().invoke(cli, ["search", *words, "--trials", "2", "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    trials = found["trials"]
    assert len(trials) == 2
    assert trials[0]["values"] == {"prune.0.target_macs": 0.5}
    assert found["chosen_by"] == "val"
    assert found["split"] == "test"
    for trial in trials:
        folder = run / trial["folder"]
        assert trial["reason"] or json.loads((folder / "run.json").read_text())["accepted"]
    # What trials have in common was made once.
    sources = [run / t["folder"] / "stages" / "00-source" / "model.keras" for t in trials]
    assert sources[0].samefile(sources[1])
    assert not (run / ".stages").exists()
    points = {
        t["number"]: (-t["figures"]["metric"], t["figures"]["macs"])
        for t in trials
        if t["accepted"]
    }
    for number, point in points.items():
        beaten = any(q != point and q[0] <= point[0] and q[1] <= point[1] for q in points.values())
        assert (number in found["front"]) == (not beaten)
    assert len(found["benchmark"]["rows"]) == len(found["front"])
    assert (run / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_a_trial_whose_curve_lies_behind_is_stopped(tmp_path: Path, line: dict[str, Any]) -> None:
    """The recipe recovers; the other one can't, and would train as long."""
    path, run = tmp_path / "recipe.yaml", tmp_path / "run"
    step = {**line["prune"][0], "target_macs": 0.3, "recover_epochs": 60, "recover_lr": 1e-3}
    part = {
        "space": {"prune.0.recover_lr": [1e-3, 1e-9]},
        "objectives": ["metric"],
        "pruner": "asha",
        "prune_after": 2,
    }
    path.write_text(yaml.safe_dump({**line, "prune": [step], "search": part}))
    words = ["search", str(path), "-o", str(run), "--trials", "4", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.stderr
    assert "left" in done.stderr
    trials = json.loads(done.stdout)["trials"]
    hopeless = [t for t in trials if t["values"]["prune.0.recover_lr"] == 1e-9]
    assert hopeless
    for trial in hopeless:
        assert trial["stopped_after"] == 2
        assert "stopped early" in trial["reason"]
        assert not trial["accepted"]
        assert not (run / trial["folder"] / "run.json").exists()
    front = json.loads(done.stdout)["front"]
    assert front
    assert not set(front) & {t["number"] for t in hopeless}
    assert "stopped early" in (run / "report.html").read_text()


def test_a_search_that_found_nothing_tells_the_reason_of_each_trial(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    path, run = tmp_path / "recipe.yaml", tmp_path / "run"
    part = {"space": {"prune.0.target_macs": [0.0001]}, "objectives": ["metric", "macs"]}
    path.write_text(yaml.safe_dump({**line, "search": part}))
    words = ["search", str(path), "-o", str(run), "--trials", "1", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "can't be reached" in done.stderr.splitlines()[-1]
    told = json.loads(done.stdout)
    assert told["front"] == []
    assert "can't be reached" in told["trials"][0]["reason"]
    assert json.loads((run / "search.json").read_text())["trials"] == told["trials"]
    page = (run / "report.html").read_text()
    assert "can&#39;t be reached" in page
    moved = run.rename(tmp_path / "moved")
    assert report([moved], tmp_path / "again.html").read_text() == page
    assert "can't be reached" in report([moved / "search.json"], tmp_path / "again.md").read_text()


def test_values_that_can_not_go_together_fail_their_trial_alone(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    """Each is possible beside the recipe's own values, but not both: the search goes on."""
    space = {"export.quantize": [["float32"]], "export.equalize": [True]}
    integers = {**line, "export": {"formats": ["tflite"], "quantize": ["int8"]}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**integers, "search": {"space": space}}))
    done = CliRunner().invoke(
        cli, ["search", str(path), "-o", str(tmp_path / "run"), "--trials", "2", "--json"]
    )
    assert done.exit_code == 1
    trials = json.loads(done.stdout)["trials"]
    assert ["--equalize has no effect" in trial["reason"] for trial in trials] == [True, True]
