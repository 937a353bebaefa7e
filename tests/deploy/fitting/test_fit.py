"""A fit from the command line: files that keep the floor, each with the recipe that makes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner, Result

from edgepress.benchmarks.records.fit import FitRecord
from edgepress.benchmarks.report import report
from edgepress.compress.kernel.files import sha256
from edgepress.deploy.cli.main import cli
from edgepress.deploy.demo import digits
from edgepress.deploy.recipe import read_recipe

QUICK = ("--runs", "5", "--launches", "1", "--json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits_model: Path) -> Path:
    """A trained network and its data with a test split."""
    folder = tmp_path_factory.mktemp("fit")
    shutil.copy(digits_model, folder / "m.keras")
    data = digits()
    scaled = {k: v / 16 if k.startswith("x") else v for k, v in data.items()}
    np.savez(folder / "d.npz", **scaled)
    return folder


def fit(*words: str) -> Result:
    return CliRunner().invoke(cli, ["fit", *words])


def read(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def accuracy(file: Path, data: Path) -> float:
    """Of a float-in, float-out file on the test split, by a bare loop of the runtime."""
    arrays = np.load(data)
    runtime = Interpreter(str(file))
    runtime.allocate_tensors()
    (one,), (other,) = runtime.get_input_details(), runtime.get_output_details()
    right = 0
    for image, label in zip(arrays["x_test"], arrays["y_test"], strict=True):
        runtime.set_tensor(one["index"], image[None])
        runtime.invoke()
        right += int(runtime.get_tensor(other["index"]).argmax()) == label
    return right / len(arrays["y_test"])


def check_picks(found: dict[str, Any], folder: Path, data: Path) -> None:
    """Every pick is the file that its trial made, and its figures are those of that file."""
    told = FitRecord.model_validate(found)
    assert {name for pick in told.picks for name in pick.names} == {"safest", "knee", "smallest"}
    for pick in told.picks:
        file = folder / pick.file
        assert sha256(file) == pick.sha256
        (floor,) = pick.floors
        assert floor.after == pytest.approx(accuracy(file, data), abs=1e-9)
        assert floor.split == "test"
        assert read_recipe(folder / pick.recipe).accept.max_drop == told.max_drop


def test_without_time_for_trials_the_given_model_is_fitted_by_precision_alone(
    place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = (str(place / "m.keras"), "--data", str(place / "d.npz"), "-o", str(run))
    result = fit(*words, "--minimise", "bytes", "--quantize", "int8,float32", "--time", "1s",
                 "--max-drop", "0.05", *QUICK)  # fmt: skip
    assert result.exit_code == 0, result.output
    found = read(result)
    check_picks(found, run, place / "d.npz")
    assert len(found["trials"]) == 1
    assert found["picks"][0]["quantize"] == "int8"
    assert found["picks"][0]["ratio"] < 1
    assert not (run / ".stages").exists()
    page = (run / "report.html").read_text()
    assert "fit over 1 recipe" in page
    moved = run.rename(tmp_path / "moved")
    assert report([moved], tmp_path / "again.html").read_text() == page


@pytest.mark.slow
def test_a_fit_finds_smaller_files_that_keep_the_floor_and_goes_on(
    place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = (str(place / "m.keras"), "--data", str(place / "d.npz"), "-o", str(run))
    first = fit(*words, "--minimise", "macs", "--quantize", "int8", "--time", "5m",
                "--max-drop", "0.05", *QUICK)  # fmt: skip
    found = read(first)
    check_picks(found, run, place / "d.npz")
    assert first.exit_code == int(
        any(f["verdict"] == "missed" for f in found["picks"][0]["floors"])
    )
    assert len(found["trials"]) > 2
    # A trial that was cut off is taken up again, whatever else would be worth a trial now.
    begun = {"share": 0.42, "sparsity": 0.0, "rung": 0, "seconds": 1.0}
    record = run / "fit.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "underway": begun}))
    cut = read(fit("--resume", str(run), "--time", "1s", "--json"))
    assert cut["underway"]["share"] == 0.42
    again = read(fit("--resume", str(run), "--time", "5m", "--json"))
    assert again["plans"][len(found["trials"])]["share"] == 0.42
    assert again["underway"] is None or again["underway"]["share"] != 0.42
    kept = [t["sha256"] for t in found["trials"]]
    assert [t["sha256"] for t in again["trials"]][: len(kept)] == kept
    places = {str(Path(pick["file"]).parent.name) for pick in again["picks"]}
    assert {path.name for path in (run / "picks").iterdir()} == places
    least = [min(p["objective"] for p in one["picks"]) for one in (found, again)]
    assert least[1] <= least[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("m.keras", "-o", "run"), "--data"),
        (("m.keras", "--data", "d.npz"), "-o"),
        (("--data", "d.npz", "-o", "run"), "MODEL"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--time", "soon"), "20m"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--minimise", "metric"), "minimise"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--minimise", "speed"), "speed"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--max-drop", "-1"), "max-drop"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--quantize", "int3"), "int3"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--device", "nowhere"), "'nowhere'"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--device", "ssh://a:b@c"), "password"),
        (("--resume", "."), "no fit to resume"),
        (("--resume", ".", "--minimise", "bytes"), "--minimise"),
    ],
)
def test_what_can_not_be_fitted_is_one_line(
    words: tuple[str, ...], told: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    result = fit(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not (place / "run").exists()
