"""What of a run is sent to which device, and what is measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress import deploy
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.deploy.benchmarking.benchmark import RunFile, benchmark_run
from edgepress.deploy.exporting.export import convert
from edgepress.deploy.pipeline.pipeline import measure_files, run
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.recipe import BenchmarkSpec, Recipe
from edgepress.deploy.targets.local import local_target
from edgepress.deploy.targets.micro.serial_board import SerialTarget
from edgepress.deploy.targets.micro.target import EthosTarget, TflmTarget
from edgepress.deploy.targets.named import Named
from edgepress.deploy.verification.known_outputs import recalled


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    path = tmp_path_factory.mktemp("run") / "artifacts" / "model.tflite"
    path.parent.mkdir()
    assert convert(model, path) == ""
    return path


def test_a_device_gets_only_what_it_runs() -> None:
    stage = RunFile(Path("model.tflite"), "float32", shows_stage=True)
    whole = RunFile(Path("model.tflite"), "int8")
    onnx = RunFile(Path("model.onnx"), "int8")
    npu: Any = EthosTarget("ethos-u55-128")
    board: Any = SerialTarget("mcu:/dev/ttyX", Path("/dev/ttyX"), 115200, True)
    assert "float32" in stage.why_not(npu)
    assert "float32" in stage.why_not(Named("npu", npu))
    assert whole.why_not(npu) == whole.why_not(board) == stage.why_not(TflmTarget()) == ""
    assert ".onnx" in onnx.why_not(npu)
    assert "program" in stage.why_not(Named("board", board))
    assert {f.why_not(local_target("local")) for f in (stage, whole, onnx)} == {""}


def test_what_was_left_out_is_told_and_is_no_failure(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    spec = BenchmarkSpec(devices=("mcu:ethos-u55-128", "local"), runs=3, launches=1)
    stage = RunFile(file, "float32", shows_stage=True)
    found, left_out = benchmark_run([stage], spec, data=None, seed=0, progress=_Quiet())
    assert found["failures"] == []
    assert {row["device"] for row in found["rows"]} == {"local"}
    assert [entry["device"] for entry in left_out] == ["mcu:ethos-u55-128"]


@pytest.mark.parametrize(("samples", "known"), [(None, True), (20, False)])
def test_what_a_verified_file_gave_is_known_for_the_whole_split(
    samples: int | None, known: bool, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    y = x[:, :3]
    data = open_data({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, model)
    done = deploy.export(model, tmp_path / "out", "tflite", data=data, verify_samples=samples)
    (made,) = done.artifacts
    given = recalled(data.report_split, made.sha256)
    assert (given is not None) is known
    spec = BenchmarkSpec(runs=2, launches=1)
    found, _ = benchmark_run(
        [RunFile(made.path, "float32")], spec, data=data, seed=0, progress=_Quiet()
    )
    (row,) = found["rows"]
    assert row["value"] is not None
    if given is not None:
        with Runtime(made.path) as runtime:
            ((name, got),) = runtime.predict({"x": x}).items()
        np.testing.assert_array_equal(given[name], got)
        assert made.verified is not None
        assert row["value"] == made.verified.value


@pytest.mark.parametrize(
    ("dropout", "conversions"), [(False, 2), pytest.param(True, 3, marks=pytest.mark.slow)]
)
def test_a_model_is_converted_once_where_a_stage_leaves_it_as_it_was(
    dropout: bool, conversions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stages are the source and strip, which takes dropout away; the export converts again."""
    asked, ask = [], Worker.ask

    def noted(worker: Worker, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(task)
        return ask(worker, task, request)

    monkeypatch.setattr(Worker, "ask", noted)
    layers = [keras.layers.Dropout(0.5)] if dropout else []
    model = keras.Sequential([keras.Input((4,), name="x"), *layers, keras.layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    np.savez(tmp_path / "d.npz", x_train=x, y_train=x[:, :3], x_test=x, y_test=x[:, :3])
    recipe = {
        "model": str(tmp_path / "m.keras"),
        "data": str(tmp_path / "d.npz"),
        "export": {"formats": ["tflite"], "quantize": ["float32"]},
        "benchmark": {"runs": 2, "launches": 1},
    }
    stages = run(Recipe.model_validate(recipe), tmp_path / "run").contents.stages
    assert asked.count("tflite") == conversions
    assert [s.kind for s in stages] == ["source", "strip"]
    assert stages[0].float_sha256 == stages[1].float_sha256 is not None


def test_every_device_that_fails_is_named(file: Path) -> None:
    devices = ("ssh://nobody@127.0.0.1:1", "ssh://nobody@127.0.0.1:2")
    spec = BenchmarkSpec(devices=devices, runs=3)
    found = measure_files(spec, [RunFile(file, "float32")], file.parents[1], 0, _Quiet())
    assert {failure.device for failure in found.failures} == set(devices)


def test_the_data_of_a_benchmark_is_whatever_data_means(file: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 4)).astype("float32"), random.integers(0, 3, 40)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    splits = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    values = {
        deploy.benchmark([file], runs=2, launches=1, data=data)[0].value
        for data in (str(tmp_path / "d.npz"), splits)
    }
    assert len(values) == 1
    assert 0 <= values.pop() <= 1
    pair = deploy.benchmark([file], runs=2, launches=1, data=(x, y))[0]
    assert (pair.metric, pair.split) == ("accuracy", "val")
    with pytest.raises(InputError, match="nowhere"):
        deploy.benchmark([file], runs=2, data="nowhere.npz")


class _Quiet:
    def stage(self, text: str) -> None:
        pass

    def step(self, done: int, total: int, text: str = "") -> None:
        pass
