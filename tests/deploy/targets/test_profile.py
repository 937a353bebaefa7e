"""Time by operator, as each kind of device tells it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from adbd import Adbd
from click.testing import CliRunner
from sshd import SSHD, sshd

from edgepress.compress.errors import InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.cli.main import cli

needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed")
needs_sshd = pytest.mark.skipif(not SSHD, reason="openssh-server is not installed")

RESNET8_MACS = 12_501_632


@needs_adb
def test_a_phone_tells_by_its_own_profiler(phone: Adbd, binary: Path, resnet_float: Path) -> None:
    url = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    result = benchmark(
        [resnet_float], devices=[url], runs=2, launches=1, xnnpack=False, profile=True
    )
    (profile,) = result.to_json()["profiles"]
    assert profile["device"] == f"adb:127.0.0.1:{phone.port}"
    operators = profile["operators"]
    assert sum(o["macs"] or 0 for o in operators) == RESNET8_MACS
    assert sum(o["share"] for o in operators) == pytest.approx(1)
    assert all(o["gflops"] > 0 for o in operators if o["macs"])
    assert {o["bound"] for o in operators} == {None}  # the phone's best isn't known
    assert result.failures == ()


@needs_adb
def test_what_a_delegate_took_over_is_one_operator(
    phone: Adbd, binary: Path, resnet_float: Path
) -> None:
    url = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    result = benchmark([resnet_float], devices=[url], runs=2, launches=1, profile=True)
    (profile,) = result.to_json()["profiles"]
    assert any(o["operator"] == "DELEGATE" and o["macs"] is None for o in profile["operators"])


@needs_adb
def test_a_build_without_a_profiler_keeps_its_figures(
    phone: Adbd, binary: Path, resnet_float: Path
) -> None:
    binary.write_text(binary.read_text().replace("enable_op_profiling", "not_built_in"))
    url = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    result = benchmark([resnet_float], devices=[url], runs=2, launches=1, profile=True)
    assert len(result.measurements) == 1
    (failure,) = result.failures
    assert "no profile by operator" in failure.reason


@needs_sshd
def test_a_board_is_profiled_there(tmp_path: Path, resnet_float: Path, onnx_file: Path) -> None:
    pytest.importorskip("asyncssh")
    with sshd(tmp_path) as server:
        url = server.url(python=sys.executable)
        result = benchmark(
            [resnet_float, onnx_file], devices=[url], runs=2, launches=1, profile=True
        )
        tflite, onnx = result.to_json()["profiles"]
        assert list(server.temporary.iterdir()) == []
    assert tflite["device"] == onnx["device"] == result.devices[0].device
    assert sum(o["macs"] or 0 for o in tflite["operators"]) == RESNET8_MACS
    assert tflite["peak"]["gflops"] > 0.1
    assert onnx["operators"]


def test_a_device_without_one_refuses_before_any_work(resnet_float: Path) -> None:
    with pytest.raises(InputError, match="--profile has no effect on 'mcu:/dev/ttyS0'"):
        benchmark([resnet_float], devices=["mcu:/dev/ttyS0"], profile=True)


def test_the_table_names_the_device(onnx_file: Path) -> None:
    done = CliRunner().invoke(cli, ["benchmark", str(onnx_file), "--runs", "3", "--profile"])
    assert done.exit_code == 0, done.output
    assert "Time by operator on local: dense.onnx" in done.stdout
