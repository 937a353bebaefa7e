"""Benchmarks on this machine, end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from edge_networks import images
from tiny_models import unknown_operator_tflite

from edgepress.benchmarks.accuracy import Judge
from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.results import Measurement
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import TARGETS, target_for
from edgepress.deploy.targets.local import LocalTarget

ROW = {
    "artifact", "format", "bytes", "gzip_bytes", "runs", "threads", "load_ms", "first_ms",
    "min_ms", "median_ms", "mean_ms", "std_ms", "p90_ms", "p95_ms", "p99_ms", "ci95_ms",
    "peak_memory_bytes", "arena_bytes", "metric", "value",
}  # fmt: skip


@pytest.fixture(scope="module")
def kws(edge_file: Callable[[str], Path]) -> list[Path]:
    return [edge_file("ds_cnn_float"), edge_file("ds_cnn_int8")]


def _score(outputs: list[np.ndarray], targets: np.ndarray) -> float:
    return float(np.mean(outputs[0].argmax(1) == targets))


def test_the_document_has_the_promised_fields(kws: list[Path]) -> None:
    told = json.loads(json.dumps(benchmark(kws, runs=25, launches=2).to_json(), allow_nan=False))
    assert told["device"]["cores"] >= 1
    assert [row["artifact"] for row in told["rows"]] == [str(p) for p in kws]
    for row, path in zip(told["rows"], kws, strict=True):
        assert set(row) >= ROW
        assert row["bytes"] == path.stat().st_size > row["gzip_bytes"]
        assert 0 < row["zstd_bytes"] < row["bytes"]
        assert row["runs"] == 25
        order = ["min_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"]
        assert all(row[a] <= row[b] for a, b in pairwise(order))
        assert row["ci95_ms"][0] <= row["median_ms"] <= row["ci95_ms"][1]
        assert row["arena_bytes"] in (16000, 64000)
    (pair,) = told["comparisons"]
    assert (pair["a"], pair["b"]) == tuple(map(str, kws))
    assert pair["ci95"][0] <= pair["ratio"] <= pair["ci95"][1]
    assert told["failures"] == []


def test_onnx_and_tflite_share_a_race(kws: list[Path], onnx_file: Path) -> None:
    result = benchmark([kws[0], onnx_file], runs=5, launches=1)
    by_format = {m.path.suffix: m for m in result.measurements}
    assert by_format[".onnx"].facts.runtime.startswith("ONNX Runtime")
    assert by_format[".onnx"].facts.arena_bytes is None
    assert by_format[".tflite"].facts.runtime.startswith("LiteRT")


def test_threads_and_batches_are_rows_of_their_own(kws: list[Path]) -> None:
    rows = benchmark(kws[:1], runs=10, launches=1, threads=[1, 2], batch=[1, 4]).to_json()["rows"]
    assert [(r["threads"], r["batch"]) for r in rows] == [(1, 1), (1, 4), (2, 1), (2, 4)]


def _judged(files: list[Path], x: np.ndarray, y: np.ndarray) -> list[Measurement]:
    batches = [({"input": x[i : i + 300]}, y[i : i + 300]) for i in range(0, len(x), 300)]
    by = Judge("accuracy", "test", lambda: batches, _score, len(x))
    chosen = candidates(files, (1,), (None,), RunOptions())
    result = measure(chosen, LocalTarget(), Plan(runs=5, launches=1), by=by)
    assert {(m.metric, m.split) for m in result.measurements} == {("accuracy", "test")}
    return list(result.measurements)


def test_accuracy_comes_from_the_outputs_on_the_device(kws: list[Path]) -> None:
    """The targets are the interpreter's own decisions of the float file; 100 of them are wrong."""
    x = images(1000, (49, 10, 1), seed=4)
    decided = [_decisions(path, x) for path in kws]
    y = decided[0].copy()
    y[:100] += 1
    values = [m.value for m in _judged(kws, x, y)]
    assert values == [pytest.approx(0.9), pytest.approx(np.mean(decided[1] == y))]
    assert 0.7 < np.mean(decided[1] == y) < 1


def _decisions(path: Path, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    given, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = given["quantization"]
    found = []
    for sample in x:
        levels = np.round(sample / scale + zero).clip(-128, 127) if scale else sample
        interpreter.set_tensor(given["index"], levels[None].astype(given["dtype"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(out["index"])[0].argmax())
    return np.array(found)


def test_a_published_network_has_its_accuracy_on_the_device(shared_data: Path) -> None:
    folder = shared_data / "mlperf_tiny/kws"
    files = [folder / "kws_float.tflite", folder / "kws_int8.tflite"]
    with np.load(shared_data / "mlperf_tiny/kws/kws01_samples.npz") as file:
        x = (file["x"].astype(np.float32) - 83) * 0.5847029
        y = file["y"]
    assert [m.value for m in _judged(files, x, y)] == [
        pytest.approx(0.900, abs=2e-3),
        pytest.approx(0.902, abs=2e-3),
    ]


def test_an_artifact_that_fails_leaves_the_others_their_results(
    kws: list[Path], tmp_path: Path
) -> None:
    odd = unknown_operator_tflite(tmp_path / "odd.tflite")
    result = benchmark([kws[0], odd], runs=5, launches=1)
    assert [m.path for m in result.measurements] == [kws[0]]
    (failure,) = result.failures
    assert failure.artifact == str(odd)
    assert "NoSuchOperator" in failure.reason
    with pytest.raises(DeviceError, match="NoSuchOperator"):
        benchmark([odd], runs=5, launches=1)


def test_bad_input_is_refused_before_any_work(kws: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        benchmark([tmp_path / "none.tflite"])
    with pytest.raises(InputError, match="can't be run"):
        benchmark([Path(__file__)])
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(kws[0].read_bytes()[:2000])
    with pytest.raises(InputError, match=r"damaged\.tflite' is a damaged"):
        benchmark([kws[0], damaged])
    with pytest.raises(InputError, match="at least 1 run"):
        benchmark(kws, runs=0)
    with pytest.raises(InputError, match="1 or more"):
        benchmark(kws, threads=0)
    with pytest.raises(InputError, match="unknown device 'lokal'"):
        target_for("lokal")
    with pytest.raises(InputError, match="nothing to benchmark"):
        benchmark([])
    with pytest.raises(InputError, match="precision"):
        benchmark(kws, precision=2.0)
    assert "local" in TARGETS


def test_a_tflite_file_is_measured_without_tensorflow(kws: list[Path]) -> None:
    code = (
        "import sys; from edgepress.deploy.benchmarking.benchmark import benchmark; "
        f"benchmark(['{kws[1]}'], runs=5, launches=1); "
        "print([m for m in ('tensorflow', 'keras', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_several_devices_are_rows_that_name_theirs(kws: list[Path]) -> None:
    told = benchmark(
        kws[:1], devices=[LocalTarget("one"), LocalTarget("two")], runs=3, launches=1
    ).to_json()
    assert [d["name"] for d in told["devices"]] == [r["device"] for r in told["rows"]]
    assert told["device"] == told["devices"][0]


def test_a_stop_ends_every_device(kws: list[Path]) -> None:
    class Impatient:
        """Stops the run at the first step of one device."""

        def stage(self, text: str) -> None:
            pass

        def step(self, done: int, total: int, text: str = "") -> None:
            if text.startswith("one") and done == 1:
                raise KeyboardInterrupt

    devices = [LocalTarget("one"), LocalTarget("two")]
    with pytest.raises(KeyboardInterrupt):
        benchmark(kws, devices=devices, runs=10**6, max_seconds=100, progress=Impatient())
