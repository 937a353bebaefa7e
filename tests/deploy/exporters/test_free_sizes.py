"""Free sizes stay free and are called what they are; what is known is a constant in ONNX."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from edgepress.deploy import export


def _images(kind: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    x = layers.MaxPooling2D(2)(layers.Conv2D(8, 3, activation="relu")(image))
    x = layers.UpSampling2D((2, 3), interpolation=kind)(x)
    return keras.Model(image, layers.Conv2D(2, 1, name="map")(x))


def _sizes(values) -> list[list]:
    return [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in values
    ]


@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
def test_height_and_width_stay_free(kind: str, tmp_path, worker) -> None:
    result = export(_images(kind), tmp_path / "out", ("tflite", "onnx"), worker=worker)
    assert [a.format for a in result] == ["tflite", "onnx"], (result.skipped, result.failed)
    assert all(a.inputs[0].shape[1:] == (None, None, 3) for a in result)
    graph = onnx.load(result[1].path).graph
    assert _sizes(graph.input) == [["batch", "height", "width", 3]]
    assert _sizes(graph.output) == [["batch", "map_height", "map_width", 2]]


def test_sizes_stay_free_beside_data_of_one_size(tmp_path, worker) -> None:
    """A file took the size of the data's images, and no other."""
    model = _images("nearest")
    x = np.random.default_rng(0).normal(size=(200, 8, 8, 3)).astype(np.float32)
    data = {"train": (x, np.asarray(model(x))), "test": (x[:40], np.asarray(model(x[:40])))}
    files = export(model, tmp_path / "out", ("tflite",), ("float32", "int8"), data, worker=worker)
    assert len(files.artifacts) == 2, (files.skipped, files.failed)
    other = np.random.default_rng(1).normal(size=(1, 10, 12, 3)).astype(np.float32)
    wanted = np.asarray(model(other))
    for file, most in zip(files.artifacts, (1e-5, 0.1), strict=True):
        assert file.inputs[0].shape[1:] == (None, None, 3)
        interpreter = Interpreter(str(file.path))
        [given], [found] = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(given["index"], other.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], other)
        interpreter.invoke()
        difference = interpreter.get_tensor(found["index"]) - wanted
        assert np.std(difference) < most * wanted.std()


@pytest.mark.slow
def test_sizes_that_can_not_stay_free_are_those_of_the_data(tmp_path, worker) -> None:
    steps = keras.Input((None, 6), name="steps")
    x = layers.MultiHeadAttention(2, 4)(steps, steps, use_causal_mask=True)
    model = keras.Model(steps, layers.Dense(3)(layers.UpSampling1D(2)(x)))
    x = np.random.default_rng(0).normal(size=(64, 8, 6)).astype(np.float32)
    data = (x, np.asarray(model(x)))
    result = export(model, tmp_path / "out", ("tflite",), ("float32",), data, worker=worker)
    assert result.artifacts[0].inputs[0].shape == (1, 8, 6)
    assert any("can't leave them free" in note for note in result.notes)


def test_a_layer_for_each_of_a_free_number_of_steps(tmp_path, worker) -> None:
    """Keras traces a loop, which ONNX Runtime can't run."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu")])
    steps = keras.Input((None, 6), name="steps")
    model = keras.Model(steps, layers.Dense(3)(layers.TimeDistributed(inner)(steps)))
    result = export(model, tmp_path / "out", ("tflite", "onnx"), worker=worker)
    assert [a.format for a in result] == ["tflite", "onnx"], (result.skipped, result.failed)
    assert all(a.inputs[0].shape[1:] == (None, 6) for a in result)
    assert "Loop" not in {node.op_type for node in onnx.load(result[1].path).graph.node}


def test_steps_of_several_inputs_are_named_by_them(tmp_path, worker) -> None:
    inputs = [keras.Input((None, size), name=name) for name, size in (("left", 3), ("right", 4))]
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(5, 3)(x)) for x in inputs]
    model = keras.Model(inputs, layers.Add(name="sum")(pooled))
    result = export(model, tmp_path / "out", ("tflite", "onnx"), worker=worker)
    assert [a.format for a in result] == ["tflite", "onnx"], (result.skipped, result.failed)
    graph = onnx.load(result[1].path).graph
    assert _sizes(graph.input) == [["batch", "left_steps", 3], ["batch", "right_steps", 4]]
    assert _sizes(graph.output) == [["batch", 5]]


def test_shapes_are_constants_where_only_the_batch_is_free(tmp_path, worker) -> None:
    """Some compilers read the products of sizes wrongly, by which tf2onnx computes them."""
    keras.utils.set_random_seed(0)
    steps = keras.Input((8, 6), name="steps")
    model = keras.Model(steps, layers.MultiHeadAttention(2, 8)(steps, steps))
    [artifact] = export(model, tmp_path / "out", ("onnx",), worker=worker)
    graph = onnx.load(artifact.path).graph
    assert {node.op_type for node in graph.node}.isdisjoint({"Shape", "ReduceProd", "Concat"})
    shapes = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == 7]
    assert any(np.array_equal(shape, [-1, 8, 8]) for shape in shapes)


def test_weights_in_fewer_bits_are_read_with_options(tmp_path, worker) -> None:
    """OpenVINO reads a table of options in each DEQUANTIZE; the quantiser writes none."""
    pytest.importorskip("ai_edge_quantizer")
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, layers.Conv2D(8, 3)(image))
    [artifact] = export(model, tmp_path / "out", ("tflite",), ("int8-weights",), worker=worker)
    read = schema.ModelT.InitFromPackedBuf(artifact.path.read_bytes(), 0)
    kinds = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in read.operatorCodes]
    options = [
        operator.builtinOptions
        for operator in read.subgraphs[0].operators
        if kinds[operator.opcodeIndex] == schema.BuiltinOperator.DEQUANTIZE
    ]
    assert options
    assert None not in options
