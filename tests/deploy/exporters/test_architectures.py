"""Every format and precision of many architectures: verified, or skipped with a reason."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from variants import mostly_slow

from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporting.export import export
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.sources.model_files import open_file

TFLITE_AND_ONNX = ("tflite", "onnx")


def dense():
    return keras.Sequential(
        [keras.Input((12,)), layers.Dense(40, activation="relu"), layers.Dense(3)]
    )


def conv_norm_add():
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.Conv2D(8, 1)(x)])
    x = layers.Dense(5, activation="softmax", name="class")(layers.Flatten()(x))
    return keras.Model(image, x)


def depthwise():
    image = keras.Input((12, 12, 3), name="image")
    x = layers.SeparableConv2D(16, 3, strides=2, padding="same")(image)
    x = layers.ReLU(max_value=6)(layers.DepthwiseConv2D(3, padding="same")(x))
    return keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def grouped_gelu_normalization():
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(3, 2, (64, 8, 8, 8)).astype("float32"))
    image = keras.Input((8, 8, 8), name="image")
    x = layers.Conv2D(16, 3, groups=4)(normalization(image))
    x = layers.Activation(keras.activations.gelu)(x)
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def conv1d():
    series = keras.Input((20, 4), name="series")
    x = layers.LeakyReLU(0.1)(layers.Conv1D(8, 3, padding="causal")(series))
    x = layers.GlobalMaxPooling1D()(layers.Conv1D(8, 3, dilation_rate=2)(x))
    return keras.Model(series, layers.Dense(2)(x))


def up_and_transposed():
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def lstm():
    series = keras.Input((6, 3), name="series")
    return keras.Model(series, layers.Dense(2)(layers.LSTM(6)(series)))


def bidirectional_gru():
    series = keras.Input((5, 3), name="series")
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(series)
    return keras.Model(series, layers.Dense(2)(x))


def attention():
    series = keras.Input((6, 8), name="series")
    x = layers.LayerNormalization()(series + layers.MultiHeadAttention(2, 4)(series, series))
    return keras.Model(series, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def inputs_and_outputs():
    """Inputs and outputs of one shape each, in an order that isn't alphabetical."""
    b, a = keras.Input((6,), name="b"), keras.Input((6,), name="a")
    x = layers.Dense(8, activation="relu")(b) - layers.Dense(8, activation="relu")(a)
    z = layers.Dense(3, activation="softmax", name="z")(x)
    return keras.Model([b, a], [z, layers.Dense(3, name="y")(x)])


def embedding():
    tokens = keras.Input((7,), dtype="int32", name="tokens")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(30, 8)(tokens))
    return keras.Model(tokens, layers.Dense(2, activation="softmax")(x))


def operations():
    image = keras.Input((6, 6, 4), name="image")
    x = keras.ops.relu(image * 0.5 - 0.1)[:, 1:, :, :2]
    x = keras.ops.reshape(x, (-1, 60))
    return keras.Model(image, layers.Dense(3)(x))


def squeeze_excite_nested():
    inner_in = keras.Input((8,))
    gate = keras.Model(inner_in, layers.Dense(8, activation="sigmoid")(inner_in), name="gate")
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="swish")(image)
    g = layers.Reshape((1, 1, 8))(gate(layers.GlobalAveragePooling2D()(x)))
    x = layers.GlobalAveragePooling2D()(layers.Multiply()([x, g]))
    return keras.Model(image, layers.Dense(2)(x))


ARCHITECTURES = {
    f.__name__: f
    for f in (dense, conv_norm_add, depthwise, grouped_gelu_normalization, conv1d,
              up_and_transposed, lstm, bidirectional_gru, attention, inputs_and_outputs,
              embedding, operations, squeeze_excite_nested)
}  # fmt: skip
QUICK = {
    "dense": ("float32", "float16", "dynamic", "int8", "int16x8"),
    "grouped_gelu_normalization": ("float32", "int8"),
    "lstm": ("float32", "int8"),
    "inputs_and_outputs": ("float32", "float16", "int8"),
    "embedding": ("float32", "int8", "int16x8"),
}


def build(name):
    keras.utils.set_random_seed(7)
    return ARCHITECTURES[name]()


def check(result, formats, precisions):
    """Every combination has an end; nothing that was kept differs from its source."""
    ends = [(a.format, a.quantize) for a in result]
    ends += [(s.format, s.quantize) for s in (*result.skipped, *result.failed)]
    assert sorted(ends) == sorted((f, p) for f in formats for p in precisions)
    assert not result.failed, result.failed
    for artifact in result:
        assert artifact.verified.passed
        assert artifact.path.stat().st_size > 0
    for skipped in result.skipped:
        assert len(skipped.reason) > 10
        assert "\n" not in skipped.reason


@pytest.mark.parametrize("name", mostly_slow(QUICK, "dense", "lstm"))
def test_every_file_agrees_with_its_source(name, tmp_path, worker, own_data):
    model, precisions = build(name), QUICK[name]
    result = export(
        model, tmp_path / "out", TFLITE_AND_ONNX, precisions, own_data(model), worker=worker
    )
    check(result, TFLITE_AND_ONNX, precisions)
    kept = {(a.format, a.quantize) for a in result}
    assert {(f, p) for f in TFLITE_AND_ONNX for p in ("float32", "int8")} <= kept
    for artifact in result:
        names = {spec.name for spec in artifact.inputs}
        assert names == {tensor.name for tensor in model.inputs}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_combinations_of_all_architectures(name, tmp_path, worker, own_data):
    model, formats = build(name), tuple(EXPORTERS)
    result = export(
        model, tmp_path / "out", formats, tuple(PRECISIONS), own_data(model), worker=worker
    )
    check(result, formats, tuple(PRECISIONS))
    kept = {(a.format, a.quantize) for a in result}
    assert {(f, p) for f in TFLITE_AND_ONNX for p in ("float32", "float16", "int8")} <= kept


@pytest.mark.slow
@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_integer_inputs_and_outputs(io, tmp_path, worker, own_data):
    model = build("conv_norm_add")
    result = export(model, tmp_path / "out", ("tflite",), ("int8",), own_data(model), io,
                    worker=worker)  # fmt: skip
    [artifact] = result
    assert artifact.verified.passed
    specs = (*artifact.inputs, *artifact.outputs)
    assert all(spec.dtype == io and spec.scale for spec in specs)


def test_weights_alone_in_few_bits(tmp_path, worker):
    pytest.importorskip("ai_edge_quantizer")
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 16), name="image")
    x = layers.Conv2D(64, 3, activation="relu")(image)
    model = keras.Model(image, layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))
    precisions = ("float32", "int8-weights", "int4-weights")
    result = export(model, tmp_path / "out", ("tflite",), precisions, worker=worker)
    check(result, ("tflite",), precisions)
    sizes = [artifact.bytes for artifact in result]
    assert sizes[0] > 2 * sizes[1] > 3 * sizes[2]


def test_the_precision_of_a_file_is_read_from_it(tmp_path, worker, own_data):
    keras.utils.set_random_seed(0)
    series = keras.Input((10, 32), name="series")
    x = layers.Dense(64, activation="relu")(layers.Flatten()(series))
    model = keras.Model(series, layers.Dense(40)(x))
    precisions = ("float32", "float16", "dynamic", "int8")
    result = export(model, tmp_path / "out", TFLITE_AND_ONNX, precisions, own_data(model),
                    worker=worker)  # fmt: skip
    assert result.passed
    assert [open_file(a.path).precision for a in result] == [a.quantize for a in result]
