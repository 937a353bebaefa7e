"""Models that compute in 16-bit floats: files are made of their weights, in the asked precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.deploy.exporting.export import export
from edgepress.deploy.lowerings.float_types import in_single_precision, recast_layers
from edgepress.deploy.verification.verifying import verify


def network(policy):
    image = keras.Input((8, 8, 3), name="image")
    inner = keras.Sequential(
        [
            layers.Conv2D(4, 3, dtype=policy, name="conv"),
            layers.BatchNormalization(dtype=policy),
            layers.ReLU(dtype=policy),
        ],
        name="inner",
    )
    x = layers.Reshape((9, 16), dtype=policy)(inner(image))
    x = layers.Bidirectional(layers.GRU(3, dtype=policy), dtype=policy)(x * 2)
    return keras.Model({"image": image}, {"out": layers.Dense(2, dtype=policy, name="out")(x)})


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_the_copy_has_the_same_weights_and_computes_in_32_bits(policy):
    model = network(policy)
    copy = in_single_precision(model)
    assert recast_layers(model)
    assert recast_layers(copy) == {}
    assert [str(t.dtype) for t in copy.outputs] == ["float32"]
    for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(one.astype(np.float32), other)
    x = {"image": np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")}
    np.testing.assert_allclose(copy(x)["out"], model(x)["out"], atol=0.05)
    assert in_single_precision(copy) is copy


def test_their_files_are_float32_when_that_is_asked(tmp_path, worker):
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Flatten()(layers.Conv2D(4, 3, dtype="mixed_float16", name="half")(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    result = export(model, tmp_path / "out", ["tflite", "onnx"], ["float32"], worker=worker)
    assert result.passed
    assert [a.outputs[0].dtype for a in result] == ["float32", "float32"]
    assert any("'half' computes in 16-bit floats" in note for note in result.notes)
    assert verify(model, result[0]).passed


def test_a_factor_of_numpys_leaves_no_64_bit_floats(tmp_path, worker, own_data):
    """Keras computes all that follows it in 64 bits, for which no format has operators."""
    keras.utils.set_random_seed(0)
    series = keras.Input((6, 8), name="series")
    query, key = layers.Dense(8)(series), layers.Dense(8)(series)
    scores = keras.ops.matmul(query, keras.ops.transpose(key, (0, 2, 1))) / np.sqrt(8.0)
    assert scores.dtype == "float64"
    x = keras.ops.matmul(keras.ops.softmax(scores), series)
    model = keras.Model(series, layers.Dense(3)(x))
    formats, precisions = ("tflite", "onnx"), ("float32", "int8")
    data = own_data(model, 64)
    result = export(model, tmp_path / "out", formats, precisions, data, worker=worker)
    assert [artifact.format for artifact in result] == ["tflite", "tflite", "onnx", "onnx"]
    assert all(a.outputs[0].dtype == "float32" for a in result)
