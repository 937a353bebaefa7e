"""Weights of ONNX files in 8 bits: fewer bytes, and the float kernels that a runtime runs fast."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from edgepress import deploy
from edgepress.compress.kernel.artifact import Artifact
from edgepress.deploy.exporters.onnx.stored_weights import store_in_8_bits


def _classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(32, 3, activation="relu")(image)
    x = layers.Conv2DTranspose(24, 3, activation="relu")(layers.DepthwiseConv2D(3)(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(40, 3, activation="relu")(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    precisions = ("float32", "dynamic", "int8", "int8-weights")
    samples = np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype(np.float32)
    out = tmp_path_factory.mktemp("files") / "out"
    made = deploy.export(_classifier(), out, ["onnx"], precisions, (samples, np.arange(64) % 10))
    assert made.passed, made.failed
    return {artifact.quantize: artifact for artifact in made}


@pytest.mark.parametrize("precision", ["dynamic", "int8-weights"])
def test_all_kernels_are_stored_in_8_bits(precision: str, files: dict[str, Artifact]) -> None:
    graph = onnx.load(files[precision].path).graph
    kernels = [t for t in graph.initializer if np.prod(t.dims) >= 256]
    assert len(kernels) == 5
    assert {t.data_type for t in kernels} == {onnx.TensorProto.INT8}
    assert files[precision].bytes < 0.45 * files["float32"].bytes
    found = deploy.inspect(files[precision].path)
    assert found.quantize == precision
    assert found.macs == deploy.inspect(files["float32"].path).macs > 0


def test_a_session_holds_them_as_floats(files: dict[str, Artifact], tmp_path: Path) -> None:
    """So that its convolutions are those of the float32 file."""
    kinds = {}
    for precision in ("float32", "int8-weights"):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{precision}.onnx")
        onnxruntime.InferenceSession(str(files[precision].path), options)
        loaded = onnx.load(tmp_path / f"{precision}.onnx").graph
        kinds[precision] = sorted(node.op_type for node in loaded.node)
    assert kinds["int8-weights"] == kinds["float32"]


def test_an_integer_file_names_and_stores_its_scales_once(files: dict[str, Artifact]) -> None:
    graph = onnx.load(files["int8"].path).graph
    rounding = [n for n in graph.node if n.op_type.endswith("QuantizeLinear")]
    scales = {name for node in rounding for name in node.input[1:]}
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    stored = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}
    assert len({stored[name] for name in scales}) == len(scales)
    assert all(name.startswith(("scale_", "zero_")) for name in scales)
    made = {name for node in graph.node for name in node.output}
    assert {value.name for value in graph.value_info} <= made


def _product(weights: np.ndarray, transposed: bool, also: str = "") -> onnx.ModelProto:
    """x W of a Gemm, or with W also read by another operator."""
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=int(transposed))]
    ends = [helper.make_tensor_value_info("y", floats, None)]
    if also:
        nodes.append(helper.make_node(also, ["w"], ["z"]))
        ends.append(helper.make_tensor_value_info("z", floats, None))
    start = [helper.make_tensor_value_info("x", floats, [1, weights.shape[int(transposed)]])]
    graph = helper.make_graph(
        nodes, "product", start, ends, [onnx.numpy_helper.from_array(weights, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("transposed", [False, True])
def test_each_output_has_a_scale_of_its_own(transposed: bool) -> None:
    weights = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    weights *= np.logspace(-4, 4, 50, dtype=np.float32)
    weights[:, 7] = 0
    model = _product(weights.T.copy() if transposed else weights, transposed)
    assert store_in_8_bits(model) == 1
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    restored = stored["w_int8"] * stored["w_scale"]
    error = np.abs((restored.T if transposed else restored) - weights).max(0)
    assert (error <= np.abs(weights).max(0) / 254 * (1 + 1e-5)).all()


def test_weights_that_are_read_otherwise_too_or_save_nothing_stay() -> None:
    weights = np.ones((60, 50), np.float32)
    assert store_in_8_bits(_product(weights, False, "Abs")) == 0
    assert store_in_8_bits(_product(weights[:4, :3].copy(), False)) == 0
