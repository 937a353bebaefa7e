"""How artifacts are run: XNNPACK, delegates, providers, cores, threads and batches."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import adbd
import numpy as np
import pytest
from adbd import Adbd
from click.testing import CliRunner
from sshd import SSHD, sshd

from edgepress.benchmarks.accuracy import Judge
from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.cli.main import cli
from edgepress.deploy.pipeline.recipe_checks import check_recipe
from edgepress.deploy.recipe import Recipe
from edgepress.deploy.specs.benchmark import BenchmarkSpec, read_delegate
from edgepress.deploy.targets.local import LocalTarget

needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed")
needs_sshd = pytest.mark.skipif(not SSHD, reason="openssh-server is not installed")


@pytest.fixture(scope="module")
def zeros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delegate's library, which computes nothing but zeros."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("delegate") / "libzeros.so"
    source = Path(adbd.__file__).with_name("delegate.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def _rows(*words: Any) -> list[dict[str, Any]]:
    command = ["benchmark", *map(str, words), "--runs", "3", "--json"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["rows"]


def test_rows_say_what_was_used(resnet_float: Path, onnx_file: Path, zeros: Path) -> None:
    delegate = f"{zeros},level=3"
    tflite, onnx = _rows(
        resnet_float, onnx_file, "--no-xnnpack", "--delegate", delegate,
        "--provider", "CPUExecutionProvider", "--cpus", "0",
    )  # fmt: skip
    assert (tflite["xnnpack"], tflite["delegates"], tflite["providers"]) == (
        False,
        [delegate],
        None,
    )
    assert (onnx["xnnpack"], onnx["delegates"]) == (None, None)
    assert onnx["providers"] == ["CPUExecutionProvider"]
    assert tflite["cpus"] == onnx["cpus"] == [0]


def test_lists_of_threads_and_batches_give_rows_of_throughput(resnet_float: Path) -> None:
    rows = _rows(resnet_float, "--threads", "1,2", "--batch", "1,8")
    assert [(r["threads"], r["batch"]) for r in rows] == [(1, 1), (1, 8), (2, 1), (2, 8)]
    for row in rows:
        expected = pytest.approx(row["batch"] * 1e3 / row["median_ms"])
        assert row["throughput_per_s"] == expected


def test_a_delegate_that_computes_something_else_is_caught(resnet_float: Path, zeros: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype(np.float32)
    with LocalTarget().open(resnet_float, BenchmarkSpec().run_options()) as session:
        (honest,) = session.predict({"x": x}).values()
    truth = honest.argmax(1)
    truth[truth == 0] = 1  # zeros are taken for class 0

    def score(outputs: list[np.ndarray], targets: np.ndarray) -> float:
        return float(np.mean(outputs[0].argmax(1) == targets))

    by = Judge("accuracy", "test", lambda: [({"x": x}, truth)], score, len(x))
    values = []
    for options in (BenchmarkSpec(), BenchmarkSpec(delegates=(str(zeros),))):
        chosen = candidates([resnet_float], (1,), (None,), options.run_options())
        (row,) = measure(chosen, LocalTarget(), Plan(runs=2, launches=1), by=by).measurements
        values.append(row.value)
    assert values[0] is not None
    assert values[0] > 0.5
    assert values[1] == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delegates": ["/none/libfoo.so"]}, "libfoo.so' can't be used.*No such file"),
        ({"cpus": [4096]}, "no core 4096"),
    ],
)
def test_what_a_machine_lacks_is_one_line(
    resnet_float: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        benchmark([resnet_float], runs=1, launches=1, **options)
    assert "\n" not in caught.value.message


def test_a_delegate_that_refuses_says_why(resnet_float: Path, zeros: Path) -> None:
    with pytest.raises(DeviceError, match="there is no such accelerator"):
        benchmark([resnet_float], runs=1, launches=1, delegates=[f"{zeros},refuse=1"])


def test_a_provider_that_is_missing_is_named_with_those_there(onnx_file: Path) -> None:
    with pytest.raises(DeviceError, match=r"without TPU: it has .*CPUExecutionProvider"):
        benchmark([onnx_file], runs=1, launches=1, providers=["TPU"])


@pytest.mark.parametrize(
    ("options", "device", "words"),
    [
        ({"providers": ["CPUExecutionProvider"]}, "local", "--provider is for .onnx files"),
        ({"xnnpack": False}, "mcu:/dev/ttyS0", "--no-xnnpack has no effect on 'mcu:/dev/ttyS0'"),
        ({"threads": 2}, "mcu:/dev/ttyS0", "--threads has no effect"),
        ({"delegates": ["a,b"]}, "local", "'a,b' is not a delegate"),
        ({"cpus": [-1]}, "local", "numbered from 0"),
    ],
)
def test_options_without_effect_are_refused_before_any_work(
    resnet_float: Path, options: dict[str, Any], device: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        benchmark([resnet_float], devices=[device], runs=1, **options)


def test_delegates_are_for_tflite_files(onnx_file: Path) -> None:
    with pytest.raises(InputError, match=r"--delegate is for \.tflite files"):
        benchmark([onnx_file], delegates=["a.so"])


@pytest.mark.parametrize(
    ("benchmark_part", "words"),
    [
        ({"providers": ["X"]}, "--provider is for .onnx files"),
        ({"delegates": ["a,b"]}, "is not a delegate"),
        ({"devices": ["mcu:/dev/ttyS0"], "threads": "1,2"}, "--threads has no effect"),
        ({"bootstrap": "wheels"}, "bootstrap has no effect on 'local'"),
    ],
)
def test_a_recipe_is_refused_before_its_first_stage(
    benchmark_part: dict[str, Any], words: str
) -> None:
    parts = {"model": "m.keras", "data": {"spec": "d.npz"}, "export": {"formats": ["tflite"]}}
    recipe = Recipe(**parts, benchmark=benchmark_part)
    with pytest.raises(InputError, match=words):
        check_recipe(recipe, None)
    check_recipe(Recipe(**parts, benchmark={"threads": "1,2", "cpus": "0-1"}), None)


def test_cores_that_fall_are_refused_not_taken_for_all() -> None:
    with pytest.raises(ValueError, match="cpus"):
        BenchmarkSpec(cpus="3-2")


def test_a_delegate_is_read() -> None:
    assert read_delegate("/a/b.so, k=1,l=x=y") == ("/a/b.so", {"k": "1", "l": "x=y"})


@needs_sshd
def test_a_board_takes_the_same_options(tmp_path: Path, resnet_float: Path, zeros: Path) -> None:
    pytest.importorskip("asyncssh")
    with sshd(tmp_path) as server:
        url = server.url(python=sys.executable)
        done = benchmark(
            [resnet_float], devices=[url], runs=2, launches=1,
            xnnpack=False, delegates=[str(zeros)], cpus=[0], batch=2,
        )  # fmt: skip
        (row,) = done.to_json()["rows"]
        with pytest.raises(DeviceError, match="can't be used"):
            benchmark([resnet_float], devices=[url], runs=1, delegates=["/none.so"])
    assert (row["cpus"], row["xnnpack"], row["delegates"]) == ([0], False, [str(zeros)])
    assert row["batch"] == 2


@needs_adb
def test_a_phone_takes_those_that_benchmark_model_has_flags_for(
    phone: Adbd, binary: Path, resnet_float: Path, zeros: Path
) -> None:
    url = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    done = benchmark(
        [resnet_float], devices=[url], runs=2, launches=1, batch=3,
        xnnpack=False, delegates=[f"{zeros},level=1,mode=fast"], cpus=[0, 1],
    )  # fmt: skip
    (row,) = done.to_json()["rows"]
    assert (row["cpus"], row["batch"], row["xnnpack"]) == ([0, 1], 3, False)
    command = next(c for c in phone.commands if "--graph" in c)
    assert "taskset 3 " in command
    assert "--external_delegate_options=level:1;mode:fast" in command
    assert "--input_layer_shape=3,32,32,3" in command
    with pytest.raises(DeviceError, match=r"can't use the delegate '/none\.so'"):
        benchmark([resnet_float], devices=[url], runs=1, delegates=["/none.so"])
    with pytest.raises(DeviceError, match="takes one delegate"):
        benchmark([resnet_float], devices=[url], runs=1, delegates=["/a.so", "/b.so"])
    with pytest.raises(InputError, match="--provider is for"):
        benchmark([resnet_float], devices=[url], runs=1, providers=["X"])
    assert list(phone.root.iterdir()) == []
