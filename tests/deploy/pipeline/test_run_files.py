"""What of a run is sent to which device, and what is measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress import deploy
from edgepress.compress.errors import InputError
from edgepress.deploy.benchmarking.benchmark import RunFile, benchmark_run
from edgepress.deploy.exporting.export import convert
from edgepress.deploy.pipeline.pipeline import measure_files
from edgepress.deploy.recipe import BenchmarkSpec
from edgepress.deploy.targets.local import local_target
from edgepress.deploy.targets.micro.serial_board import SerialTarget
from edgepress.deploy.targets.micro.target import EthosTarget, TflmTarget
from edgepress.deploy.targets.named import Named


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
