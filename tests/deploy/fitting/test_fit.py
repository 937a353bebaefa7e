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
from edgepress.deploy.fitting.choosing import Next, Tried, choose
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
                 "--max-drop", "0.05", "--max-ram", "50%", *QUICK)  # fmt: skip
    assert result.exit_code == 0, result.output
    found = read(result)
    check_picks(found, run, place / "d.npz")
    assert len(found["trials"]) == 1
    assert found["picks"][0]["quantize"] == "int8"
    assert found["picks"][0]["ratio"] < 1
    (ram,) = found["picks"][0]["limits"]
    assert (ram["verdict"], ram["share"]) == ("kept", True)
    assert 0.2 < ram["value"] <= 0.5
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


@pytest.mark.slow
def test_a_limit_that_no_file_holds_is_told_with_the_nearest_file_and_what_it_needs(
    place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = (str(place / "m.keras"), "--data", str(place / "d.npz"), "-o", str(run))
    result = fit(*words, "--max-bytes", "1kB", "--minimise", "macs", "--quantize", "int8",
                 "--max-drop", "0.05", "--time", "40s", *QUICK)  # fmt: skip
    assert result.exit_code == 1
    assert "keeps a fall of at most 0.05 and a file of at most 1.00 kB" in result.stderr
    found = read(result)
    assert found["picks"] == []
    assert found["nearest"]
    for near in found["nearest"]:
        assert (run / near["file"]).stat().st_size <= int(near["needs"][-1].split()[1][:-1])
        assert " ".join(near["needs"]) in result.stderr


def with_a_loud_channel(model: Path, path: Path) -> Path:
    """The same function, with a channel that takes almost the whole range of an int8 tensor."""
    import keras

    found = keras.models.load_model(model)
    dense = found.get_layer("digit")
    norm = [layer for layer in found.layers if isinstance(layer, keras.layers.BatchNormalization)][
        -1
    ]
    gamma, beta, *rest = norm.get_weights()
    kernel, bias = dense.get_weights()
    for factors in (gamma, beta):
        factors[0] *= 60
    kernel[0] /= 60
    norm.set_weights([gamma, beta, *rest])
    dense.set_weights([kernel, bias])
    found.save(path)
    return path


@pytest.mark.slow
def test_what_int8_alone_loses_is_trained_for_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_trained(tried: list[Tried], *more: Any) -> Next | None:
        return None if any(t.plan.qat and t.rung for t in tried) else choose(tried, *more)

    monkeypatch.setattr("edgepress.deploy.fitting.fit.choose", until_trained)
    run, model = tmp_path / "run", with_a_loud_channel(place / "m.keras", tmp_path / "m.keras")
    words = (str(model), "--data", str(place / "d.npz"), "-o", str(run))
    result = fit(*words, "--minimise", "bytes", "--quantize", "float32,int8", "--max-drop", "0",
                 "--time", "1h", *QUICK)  # fmt: skip
    assert result.exit_code in (0, 1), result.output
    found = FitRecord.model_validate(read(result))
    assert found.quantize == "float32"
    alone, trained = found.plans[1:3]
    assert (alone.qat, alone.rung) == (True, 0)
    assert (trained.qat, trained.rung) == (True, 1)
    assert found.trials[1].folder == found.trials[0].folder
    assert found.trials[2].sha256 not in (None, found.trials[1].sha256)
    recipe = read_recipe(run / found.trials[2].folder / "recipe.yaml")
    assert (recipe.export.quantize, recipe.export.qat_epochs) == (("int8",), 2)
    assert trained.drop is not None
    assert alone.drop is not None
    assert trained.drop < alone.drop


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("m.keras", "--data", "d.npz", "-o", "run", "--max-ram", "150%"), "--max-ram 150%"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--max-bytes", "big"), "64kB"),
        (("m.keras", "--data", "d.npz", "-o", "run", "--max-latency", "0ms"), "0.8ms"),
        (
            ("m.keras", "--data", "d.npz", "-o", "run", "--max-ram", "9kB", "--format", "onnx"),
            "ONNX files have memory",
        ),
        (("m.keras", "--data", "d.npz", "-o", "run", "--minimise", "energy"), "energy counter"),
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
    monkeypatch.setattr("edgepress.deploy.fitting.precisions.read_energy", dict)
    result = fit(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not (place / "run").exists()
