"""Microcontrollers: TFLM and Vela themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from real_files import also_real
from tiny_models import unknown_operator_tflite

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.benchmarks.tflite.arena import plan_arena
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import target_for

EdgeFile = Callable[[str], Path]
VWW = ["mobilenet_int8", *also_real("mlperf_tiny/vww/vww_96_int8")]
HYBRID = ["ds_cnn_dynamic", *also_real("mlperf_tiny/kws/kws_float")]  # its weights are int8


@pytest.fixture(params=VWW)
def vww(request: pytest.FixtureRequest, edge_file: EdgeFile) -> Path:
    return edge_file(request.param)


@pytest.mark.parametrize(
    "name",
    ["resnet8_int8", "mobilenet_int8", "mobilenet_float", "autoencoder_int8", "branches_float",
     *also_real("mlperf_tiny/ic/resnet8_int8", "mlperf_tiny/vww/vww_96_int8",
                "mlperf_tiny/vww/vww_96_float", "mlperf_tiny/ad/ad01_int8",
                "models/tflite/basic_pitch_nmp")],
)  # fmt: skip
def test_the_planned_arena_is_that_of_tflm_to_the_byte(edge_file: EdgeFile, name: str) -> None:
    pytest.importorskip("tflite_micro")
    path = edge_file(name)
    with target_for("mcu:tflm").open(path, RunOptions()) as session:
        session.run(Job(1))
        facts = session.facts()
    head = int(facts.notes[0].split()[1])
    assert head == plan_arena(path).arena_bytes
    assert facts.arena_bytes > head


def test_tflm_computes_what_litert_computes(vww: Path) -> None:
    pytest.importorskip("tflite_micro")
    x = np.random.default_rng(0).random((3, 96, 96, 3), np.float32)
    with Runtime(vww, xnnpack=False) as here:
        (expected,) = here.predict({"x": x}).values()
    with target_for("mcu:tflm").open(vww, RunOptions()) as session:
        (got,) = session.predict({"x": x}).values()
    np.testing.assert_allclose(got, expected, atol=2 / 256)


@pytest.mark.parametrize("name", HYBRID)
def test_what_tflm_cannot_run_is_one_line(edge_file: EdgeFile, name: str, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    odd = unknown_operator_tflite(tmp_path / "odd.tflite")
    with pytest.raises(DeviceError, match=r"odd\.tflite.*TFLM refuses the file"):
        benchmark([odd], devices=["mcu:tflm"], runs=1)
    with pytest.raises(DeviceError, match=r"TFLM refuses the file.*Hybrid models"):
        benchmark([edge_file(name)], devices=["mcu:tflm"], runs=1)


def test_times_of_tflm_are_marked(vww: Path) -> None:
    pytest.importorskip("tflite_micro")
    told = benchmark([vww], devices=["mcu:tflm"], runs=2, launches=1).to_json()
    assert told["rows"][0]["timing_valid"] is told["device"]["timing_valid"] is False
    assert told["rows"][0]["arena_bytes"] > 73728


def test_vela_estimates_cycles_and_memory(vww: Path) -> None:
    pytest.importorskip("ethosu")
    slow, fast = (
        benchmark([vww], devices=[f"mcu:ethos-u55-{size}"]).to_json()["rows"][0]
        for size in (32, 256)
    )
    assert slow["median_ms"] > 2 * fast["median_ms"] > 0
    assert slow["runs"] == fast["runs"] == 1
    assert 70 * 1024 < slow["arena_bytes"] < 80 * 1024
    assert "performance model" in slow["method"]
    assert not slow["timing_valid"]


@pytest.mark.parametrize("name", HYBRID)
def test_a_float_model_is_not_accelerated(edge_file: EdgeFile, name: str) -> None:
    pytest.importorskip("ethosu")
    with pytest.raises(DeviceError, match="quantize int8"):
        benchmark([edge_file(name)], devices=["mcu:ethos-u55-128"])


def test_names_are_checked() -> None:
    with pytest.raises(InputError, match="no microcontroller") as caught:
        target_for("mcu:ethos-u55-129")
    assert "ethos-u55-128" in caught.value.hint


def test_an_estimate_has_no_precision_to_wait_for(vww: Path) -> None:
    pytest.importorskip("ethosu")
    with pytest.raises(InputError, match="--precision has no effect on 'mcu:ethos-u55-128'"):
        benchmark([vww], devices=["mcu:ethos-u55-128"], precision=0.01)
