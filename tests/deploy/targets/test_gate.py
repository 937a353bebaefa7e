"""`edgepress benchmark --against` as people call it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from edgepress.deploy.cli.main import cli

WORKFLOW = Path(__file__).parents[3] / "docs" / "examples" / "benchmark-gate.yml"
# Times and memory of a busy machine decide nothing here.
LAX = ("--latency-tolerance", "1000%", "--memory-tolerance", 9)


def call(*words: Any) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its data, and files of it: as it is (v1), harmed (v2); the same for values."""
    import keras

    from edgepress import deploy

    folder = tmp_path_factory.mktemp("made")
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    inputs = keras.Input((4,), name="x")
    for kind, activation in (("classes", "softmax"), ("values", None)):
        model = keras.Model(inputs, keras.layers.Dense(3, activation, name=kind)(inputs))
        model.layers[-1].bias.assign([0.1, 0.2, 0.3])
        y = model.predict(x, verbose=0)
        truth = y.argmax(1) if kind == "classes" else y + 0.01
        np.savez(folder / f"{kind}.npz", x_train=x, y_train=truth, x_test=x, y_test=truth)
        model.save(folder / f"{kind}.keras")
        deploy.export(model, folder / kind / "v1", ["tflite"], ["float32"])
        model.layers[-1].bias.assign([0.6, 0.1, 0.2])
        deploy.export(model, folder / kind / "v2", ["tflite"], ["float32"])
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with all of it."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def measured(file: str, kind: str, *words: Any) -> Result:
    data = ("--data", f"{kind}.npz", "--model", f"{kind}.keras")
    return call("benchmark", file, *data, "--runs", 5, "--launches", 1, *words)


@pytest.mark.parametrize(("kind", "metric"), [("classes", "accuracy"), ("values", "mae")])
def test_a_worse_metric_is_a_regression_everywhere(place: Path, kind: str, metric: str) -> None:
    files = [f"{kind}/{version}/model_float32.tflite" for version in ("v1", "v2")]
    assert measured(files[0], kind, "--history", "h.db", "--label", "main").exit_code == 0
    worse = measured(files[1], kind, "--against", "h.db@main", "--junit", "j.xml", "--github",
                     "g.json", "-o", "b.json", *LAX)  # fmt: skip
    assert worse.exit_code == 1
    assert f"1 regression: {metric} of model_float32.tflite" in worse.stderr
    assert "200" in worse.stderr
    (failure,) = ElementTree.parse("j.xml").getroot().iter("failure")
    assert metric in str(failure.get("message"))
    entry = next(e for e in json.loads(Path("g.json").read_text()) if metric in e["name"])
    assert "regression" in entry["extra"]
    told = {c["quantity"]: c for c in json.loads(Path("b.json").read_text())["changes"]}
    assert told[metric]["verdict"] == "regression"
    assert told[metric]["samples"] == 200
    assert call("report", "b.json", "-o", "b.md").exit_code == 0
    assert f"| {metric} |" in Path("b.md").read_text()
    before, after = told[metric]["before"], told[metric]["after"]
    drop = before - after if metric == "accuracy" else after / before - 1
    edge = measured(files[1], kind, "--against", "h.db@main", "--max-drop", drop, *LAX)
    assert edge.exit_code == 0
    assert f"same: {metric}" in edge.stdout
    without = call("benchmark", files[0], "--runs", 5, "--launches", 1, "--against", "h.db", *LAX)
    assert without.exit_code == 0
    assert f"not compared: {metric}" in without.stdout


def test_a_first_run_passes_and_is_kept(place: Path) -> None:
    file = "classes/v1/model_float32.tflite"
    words = ("--runs", 5, "--launches", 1, *LAX)
    for label in ("main", "other"):
        first = call("benchmark", file, *words, "--against", f"h.db@{label}", "--history",
                     "./h.db", "--label", label, "--junit", "j.xml")  # fmt: skip
        assert first.exit_code == 0
        assert "nothing to compare with yet" in first.stdout
        assert ElementTree.parse("j.xml").getroot().get("skipped") == "1"
    second = call("benchmark", file, *words, "--against", "h.db@main", "--history", "h.db")
    assert second.exit_code == 0
    assert "against run 1 (main)" in second.stdout
    for missing, said in (("i.db", "does not exist"), ("b.json", "does not exist"),
                          ("h.db@nobody", "no run 'nobody'")):  # fmt: skip
        typed = call("benchmark", file, "--against", missing, "--history", "j.db")
        if "@" not in missing:
            assert not Path(missing).exists()
        assert typed.exit_code == 2
        assert said in typed.stderr
    new = "values/v1/model_float32.tflite"
    shutil.copy(new, "new.tflite")
    beside = call("benchmark", "new.tflite", *words, "--against", "h.db", "--history", "h.db")
    assert beside.exit_code == 0
    assert "nothing to compare with yet" in beside.stdout


def test_a_regression_is_no_baseline_for_the_run_after_it(place: Path) -> None:
    words = ("--against", "h.db", "--history", "h.db", *LAX)
    good, bad = (f"classes/{version}/model_float32.tflite" for version in ("v1", "v2"))
    assert measured(good, "classes", *words).exit_code == 0
    assert measured(bad, "classes", *words).exit_code == 1
    assert measured(bad, "classes", *words).exit_code == 1
    assert measured(bad, "classes", "--history", "h.db").exit_code == 0
    assert measured(bad, "classes", *words).exit_code == 0


def test_a_run_without_data_hides_no_fall_of_the_metric(place: Path) -> None:
    good, bad = (f"classes/{version}/model_float32.tflite" for version in ("v1", "v2"))
    words = ("--against", "h.db", "--history", "h.db", *LAX)
    plain = call("benchmark", good, "--runs", 5, "--launches", 1, *words)
    assert "nothing to compare with yet" in plain.stdout
    first = measured(good, "classes", *words)
    assert "against run 1 " in first.stdout
    assert call("benchmark", bad, "--runs", 5, "--launches", 1, *words).exit_code == 0
    worse = measured(bad, "classes", *words)
    assert worse.exit_code == 1
    assert "against run 2 " in worse.stdout


def test_files_of_one_name_keep_their_own_figures(place: Path) -> None:
    shutil.copytree("values", "copy/values")
    one, two = "classes/v1/model_float32.tflite", "values/v1/model_float32.tflite"
    words = ("--runs", 5, "--launches", 1, *LAX)
    call("benchmark", one, two, *words[:4], "-o", "two.json")
    turned = call("benchmark", two, one, *words, "--against", "two.json", "--json")
    sizes = [c for c in json.loads(turned.stdout)["changes"] if c["quantity"] == "size"]
    assert [c["reason"] for c in sizes] == ["counted, unchanged"] * 2
    moved = call("benchmark", place / "copy" / two, *words, "--against", "two.json", "--json")
    (size,) = [c for c in json.loads(moved.stdout)["changes"] if c["quantity"] == "size"]
    assert size["before"] == size["after"] == Path(two).stat().st_size
    third = "classes/v2/model_float32.tflite"
    shutil.copytree("classes/v2", "elsewhere")
    refused = call("benchmark", "elsewhere/model_float32.tflite", "--against", "two.json")
    assert refused.exit_code == 2
    assert "--name" in refused.stderr
    assert refused.stderr.count("edgepress: error") == len(refused.stderr.splitlines()) - 1
    named = call("benchmark", third, *words, "--name", one, "--against", "two.json", "--json")
    assert json.loads(named.stdout)["rows"][0]["name"] == one
    assert {c["quantity"] for c in json.loads(named.stdout)["changes"]} >= {"latency", "size"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", "a", "--name", "b"), "2 names for 1 files"),
        (("--name", " "), "--name is empty"),
        (("--max-drop", "0.1"), "--max-drop needs --against"),
        (("--against", "x.json", "--max-drop", "-1"), "--max-drop"),
        (("--against", "bad.json"), "holds no benchmark"),
    ],
)
def test_what_makes_no_sense_is_refused(place: Path, words: tuple[str, ...], said: str) -> None:
    Path("bad.json").write_text('{"rows": [{"artifact": "x"}]}')
    done = call("benchmark", "classes/v1/model_float32.tflite", *words)
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.slow
def test_the_workflow_in_the_docs_runs(place: Path) -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"].values()
    lines = [s["run"] for s in job["steps"] if "run" in s and "pip install" not in s["run"]]
    assert len(lines) == 3
    shutil.copy("classes.keras", job["env"]["MODEL"])
    shutil.copy("classes.npz", job["env"]["DATA"])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "GITHUB_REF_NAME": "main", "GITHUB_STEP_SUMMARY": "summary.md"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", line],
            env={**os.environ, **job["env"], **given}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "nothing to compare with yet" in Path("summary.md").read_text("utf-8")
    assert "model_float32.tflite" in Path("bench.html").read_text("utf-8")
    worse = measured("classes/v2/model_float32.tflite", "classes", "--against", "bench.db@main")
    assert worse.exit_code == 1
    assert "accuracy" in worse.stderr
