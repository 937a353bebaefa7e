"""Tiny real artifacts, made once: built tensor by tensor, so that no converter is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def dense_onnx(path: Path, width: int = 4, seed: int = 0) -> Path:
    """y = relu(x W + b), free batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((3, width)).astype(np.float32)
    bias = rng.standard_normal(width).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["z"]),
            helper.make_node("Relu", ["z"], ["y"]),
        ],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, width])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer as `.onnx`."""
    return dense_onnx(tmp_path_factory.mktemp("onnx") / "dense.onnx")


@pytest.fixture(scope="session")
def resnet_float(shared_data: Path) -> Path:
    """ResNet-8 as float `.tflite`."""
    return shared_data / "mlperf_tiny/ic/resnet8_float.tflite"


@pytest.fixture(scope="session")
def resnet_int8(shared_data: Path) -> Path:
    """ResNet-8 as int8 `.tflite`, int8 in and out."""
    return shared_data / "mlperf_tiny/ic/resnet8_int8.tflite"
