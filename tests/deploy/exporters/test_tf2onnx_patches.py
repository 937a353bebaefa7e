"""What is changed in tf2onnx while it converts."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from edgepress.deploy.exporters.onnx import conversion, tf2onnx_patches
from edgepress.deploy.exporters.tracing import trace_model


def _looking():
    image = keras.Input((12, 12, 3), name="image")
    scaled = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same")(scaled)
    x = layers.BatchNormalization()(layers.SeparableConv2D(8, 3, activation="gelu")(x))
    x = layers.Dense(16)(layers.LayerNormalization()(x))
    return keras.Model(image, layers.Dense(5)(layers.Flatten()(x)))


def _listening():
    series = keras.Input((7, 6), name="series")
    x = layers.LSTM(8, return_sequences=True)(series)
    x = layers.Bidirectional(layers.GRU(8))(layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(series, layers.Dense(3)(x))


@pytest.mark.parametrize("build", [_looking, pytest.param(_listening, marks=pytest.mark.slow)])
def test_weights_that_are_put_aside_come_back(build, tmp_path, monkeypatch):
    """The conversion itself compares its file with the graph."""
    keras.utils.set_random_seed(0)
    model = build()
    traced = trace_model(model, tmp_path / "m")
    [given] = traced.inputs
    probe = tmp_path / "probe.npz"
    np.savez(probe, **{given.name: np.random.rand(2, *given.shape[1:]).astype("float32")})
    request = {
        "source": str(traced.folder),
        "opset": 18,
        "inputs": [given.name],
        "outputs": [spec.name for spec in traced.outputs],
        "probe": str(probe),
    }
    plain = conversion.convert({**request, "out": str(tmp_path / "plain.onnx")})
    monkeypatch.setattr(tf2onnx_patches, "_LARGE", 8)
    monkeypatch.setattr(tf2onnx_patches, "_HEAVY", 0)
    put_aside = []
    take = tf2onnx_patches._take_weights

    def taken(graph):
        put_aside.append(take(graph))
        return put_aside[-1]

    monkeypatch.setattr(tf2onnx_patches, "_take_weights", taken)
    light = conversion.convert({**request, "out": str(tmp_path / "light.onnx")})
    assert light == plain
    assert put_aside == [{}]  # all of them went back
    kernels = [
        sorted(list(t.dims) for t in onnx.load(tmp_path / f"{name}.onnx").graph.initializer
               if np.prod(t.dims) > 16)
        for name in ("plain", "light")
    ]  # fmt: skip
    assert kernels[1] == kernels[0]
