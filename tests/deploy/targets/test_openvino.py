"""OpenVINO as a device: its own outputs and times, in the type that was asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from real_files import also_real

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.exporting.export import export
from edgepress.deploy.targets import target_for

EdgeFile = Callable[[str], Path]
# The package is large, and rare.
needs_openvino = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="openvino isn't installed"),
]
FILES = [
    "resnet8_float", "resnet8_int8", "ds_cnn_int8", "mobilenet_int8", "autoencoder_int8",
    "branches_float",
    *also_real("mlperf_tiny/ic/resnet8_int8", "mlperf_tiny/kws/kws_int8",
               "mlperf_tiny/vww/vww_96_int8", "mlperf_tiny/ad/ad01_int8"),
]  # fmt: skip


def drawn(runtime: Runtime, count: int = 6) -> dict[str, Any]:
    """Random samples for a file's inputs."""
    rng = np.random.default_rng(0)
    return {
        spec["name"]: rng.random((count, *(s or 1 for s in spec["shape"][1:])), np.float32)
        for spec in runtime.describe()["inputs"]
    }


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("openvino?precision=int8", "'int8'"),
        ("openvino?device=TPU", "'TPU'"),
        ("openvino?threads=2", "unknown option 'threads'"),
        ("openvino:x", "just 'openvino'"),
        ("openvin", "unknown device"),
    ],
)
def test_addresses_that_are_none(url: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        target_for(url)


def test_without_the_package_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepress.deploy.targets.openvino.find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the package openvino"):
        target_for("openvino")


def _computes_in_bf16() -> bool:
    """Whether OpenVINO says that this processor does."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class TestOpenVino:
    pytestmark = needs_openvino

    @pytest.mark.parametrize("name", FILES)
    def test_outputs_are_those_of_litert(self, edge_file: EdgeFile, name: str) -> None:
        path = edge_file(name)
        with Runtime(path, xnnpack=False) as here:
            samples = drawn(here)
            expected = here.predict(samples)
            scales = {spec["name"]: spec["scale"] for spec in here.describe()["outputs"]}
        with target_for("openvino").open(path, RunOptions()) as session:
            got = session.predict(samples)
        assert got.keys() == expected.keys()
        for output, want in expected.items():
            # Kernels round differently: some steps of an integer output, little of a float one.
            step = 4 * scales[output] if scales[output] else 1e-4 * max(np.abs(want).max(), 1)
            np.testing.assert_allclose(got[output], want, atol=step)

    def test_an_onnx_file_of_two_inputs_and_outputs(self, tmp_path: Path, worker: Any) -> None:
        left, right = keras.Input((4,), name="z_left"), keras.Input((6,), name="a_right")
        both = keras.layers.Concatenate()([left, right])
        outputs = {"sum": keras.layers.Dense(2)(both), "all": keras.layers.Dense(5)(both)}
        model = keras.Model([left, right], outputs)
        (artifact,) = export(model, tmp_path / "out", ["onnx"], ["float32"], worker=worker)
        rng = np.random.default_rng(0)
        x = {
            name: rng.random((7, size), np.float32)
            for name, size in (("z_left", 4), ("a_right", 6))
        }
        with Runtime(artifact.path) as here:
            expected = here.predict(x)
        assert len(expected) == 2
        with target_for("openvino").open(artifact.path, RunOptions(batch=3)) as session:
            got = session.predict(x)
            session.run(Job(3))
        for name, want in expected.items():
            np.testing.assert_allclose(got[name], want, atol=1e-5)

    def test_the_type_of_its_kernels_is_said(self, edge_file: EdgeFile) -> None:
        told = benchmark([edge_file("resnet8_float")], devices=["openvino"], runs=3, launches=1)
        (row,) = told.to_json()["rows"]
        assert row["timing_valid"]
        assert "(f32)" in row["runtime"]
        assert any("precision hint f32; kernels:" in note for note in row["notes"])

    def test_a_type_is_followed_or_refused(self, edge_file: EdgeFile) -> None:
        path = edge_file("resnet8_float")
        with Runtime(path, xnnpack=False) as here:
            samples = drawn(here)
            (want,) = here.predict(samples).values()
        session = target_for("openvino?precision=bf16").open(path, RunOptions())
        if not _computes_in_bf16():
            with pytest.raises(DeviceError, match="where bf16 was asked for"), session:
                pass
            return
        with session:
            (got,) = session.predict(samples).values()
            (note,) = session.facts().notes
        assert "in bf16" in note
        assert 1e-6 < np.abs(got - want).max() < 0.2

    def test_a_device_that_is_not_here(self, edge_file: EdgeFile) -> None:
        target = target_for("openvino?device=NPU")
        with (
            pytest.raises(DeviceError, match="no NPU here"),
            target.open(edge_file("resnet8_float"), RunOptions()),
        ):
            pass

    def test_what_it_does_not_read_is_one_line(self, edge_file: EdgeFile, tmp_path: Path) -> None:
        with pytest.raises(DeviceError, match=r"lstm.*\.tflite"):
            benchmark([edge_file("lstm_float")], devices=["openvino"], runs=1)
        other = tmp_path / "m.keras"
        other.write_bytes(b"")
        with pytest.raises(DeviceError, match=r"give a \.tflite or \.onnx file"):
            target_for("openvino").open(other, RunOptions())

    def test_an_output_of_bfloat16_is_refused_by_name(self, tmp_path: Path) -> None:
        import onnx
        from onnx import TensorProto, helper

        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        found = helper.make_tensor_value_info("narrow", TensorProto.BFLOAT16, [1, 4])
        cast = helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.BFLOAT16)
        graph = helper.make_graph([cast], "cast", [given], [found])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, tmp_path / "m.onnx")
        session = target_for("openvino").open(tmp_path / "m.onnx", RunOptions())
        with pytest.raises(DeviceError, match="'narrow' is of bfloat16"), session:
            pass
