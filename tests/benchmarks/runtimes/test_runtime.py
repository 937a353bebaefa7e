"""The runtime in its child process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from real_files import also_real

from edgepress.benchmarks.runtimes.runtime import LocalChannel, Runtime
from edgepress.compress.errors import DeviceError, InputError

EdgeFile = Callable[[str], Path]


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def test_the_outputs_are_those_of_the_interpreter_itself(resnet_float: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    images = _images(5)
    with Runtime(resnet_float) as runtime:
        (got,) = runtime.predict({"input_1": images}).values()
    interpreter = Interpreter(str(resnet_float))
    interpreter.allocate_tensors()
    given, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for image, row in zip(images, got, strict=True):
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        np.testing.assert_allclose(row, interpreter.get_tensor(out["index"])[0], atol=1e-5)


def test_real_numbers_go_in_and_out_of_quantised_tensors(resnet_int8: Path) -> None:
    images = _images(4)
    with Runtime(resnet_int8) as runtime:
        spec = runtime.tensors()[0][0]
        (real,) = runtime.predict({"any": images}).values()
        levels = (images - 128).astype(np.int8)
        (raw,) = runtime.predict({"any": levels}, real=False).values()
    assert (spec.scale, spec.zero_point, spec.dtype) == (1.0, -128, "int8")
    assert raw.dtype == np.int8
    np.testing.assert_allclose(real, (raw.astype(float) + 128) / 256, atol=1e-6)
    np.testing.assert_allclose(real.sum(axis=1), 1, atol=0.05)


def test_onnx_runs_and_batches(onnx_file: Path) -> None:
    x = np.random.default_rng(0).standard_normal((70, 3)).astype(np.float32)
    with Runtime(onnx_file) as runtime:
        whole = runtime.predict({"x": x})["y"]
        alone = np.concatenate([runtime.predict({"x": x[i : i + 1]})["y"] for i in range(3)])
    assert whole.shape == (70, 4)
    assert (whole >= 0).all()
    np.testing.assert_allclose(whole[:3], alone, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm_float", *also_real("models/tflite/mnist_lstm_float")])
def test_a_fixed_batch_of_one_is_looped(edge_file: EdgeFile, name: str) -> None:
    path = edge_file(name)
    x = np.random.default_rng(0).random((3, 28, 28), np.float32)
    with Runtime(path) as runtime:
        (both,) = runtime.predict({"x": x}).values()
        (last,) = runtime.predict({"x": x[2:]}).values()
    np.testing.assert_allclose(both[2:], last, atol=1e-6)


def test_times_and_memory_are_raw_figures(resnet_float: Path) -> None:
    with Runtime(resnet_float, threads=2) as runtime:
        raw = runtime.time(7)
        memory = runtime.memory()
    assert len(raw) == 7
    assert all(isinstance(ns, int) and ns > 0 for ns in raw)
    assert memory["peak_bytes"] >= memory["baseline_peak_bytes"] > 0


def test_timing_goes_on_after_a_prediction_of_another_batch(resnet_float: Path) -> None:
    with Runtime(resnet_float) as runtime:
        runtime.predict({"x": _images(8)})
        assert len(runtime.time(2)) == 2


def test_the_delegate_can_be_switched_off(resnet_float: Path) -> None:
    with Runtime(resnet_float) as with_it, Runtime(resnet_float, xnnpack=False) as without:
        assert "DELEGATE" in with_it.describe()["operators"]
        assert "DELEGATE" not in without.describe()["operators"]


def test_wrong_inputs_are_named(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Runtime(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="can't be run"):
        Runtime(Path(__file__))
    with Runtime(onnx_file) as runtime, pytest.raises(DeviceError, match="takes the inputs x"):
        runtime.predict({"a": np.zeros((1, 3)), "b": np.zeros((1, 3))})
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"not a model")
    with pytest.raises(DeviceError, match=r"'broken\.tflite': (?!ValueError)\w"), Runtime(broken):
        pass


def test_a_file_whose_name_is_no_utf_8_runs(onnx_file: Path, tmp_path: Path) -> None:
    named = tmp_path / "m\udcff.onnx"
    named.write_bytes(onnx_file.read_bytes())
    with Runtime(named) as runtime:
        assert runtime.time(1)


def test_a_killed_runtime_is_one_clear_line(onnx_file: Path) -> None:
    channel = LocalChannel()
    with Runtime(onnx_file, channel=channel) as runtime:
        os.kill(channel.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="was killed") as caught:
            runtime.time(1)
    assert "\n" not in caught.value.message


def test_a_slow_runtime_is_stopped(resnet_float: Path) -> None:
    with (
        Runtime(resnet_float, timeout=60) as runtime,
        pytest.raises(DeviceError, match=r"within 0\.2 s"),
    ):
        runtime.ask({"do": "time", "n": 10**6}, timeout=0.2)


def test_no_tensorflow_is_loaded(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, edgepress.benchmarks.runtimes.runtime; print('tensorflow' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_what_the_system_refuses_is_said_without_the_name_of_an_exception(
    resnet_float: Path, tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.npz")
    request = {"do": "predict", "inputs": missing, "outputs": missing, "real": True}
    with Runtime(resnet_float) as runtime, pytest.raises(DeviceError) as caught:
        runtime.ask(request)
    assert caught.value.message.startswith("'resnet8_float.tflite': No such file or directory")
