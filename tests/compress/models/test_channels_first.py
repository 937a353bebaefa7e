"""Models with the channels first compute and train on every processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.compress.models import load

L = keras.layers
FIRST: dict[str, Any] = {"data_format": "channels_first", "padding": "same"}
LAST: dict[str, Any] = {"data_format": "channels_last", "padding": "same"}
# How each layer is made, and the shape of an input with the channels last.
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv1d": (lambda f: L.Conv1D(4, 3, **f), (7, 2)),
    "conv2d": (lambda f: L.Conv2D(4, 3, strides=(2, 1), **f), (7, 6, 2)),
    "grouped": (lambda f: L.Conv2D(4, 3, groups=2, **f), (7, 6, 2)),
    "conv3d": (lambda f: L.Conv3D(3, 2, **f), (4, 5, 6, 2)),
    "transposed": (lambda f: L.Conv2DTranspose(3, 3, strides=2, **f), (4, 5, 2)),
    "transposed3d": (lambda f: L.Conv3DTranspose(3, 2, **f), (4, 5, 6, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_equal_to_the_channels_last(name: str) -> None:
    make, shape = LAYERS[name]
    inputs = keras.Input((shape[-1], *shape[:-1]))
    model = load(keras.Model(inputs, make(FIRST)(inputs)))
    twin = keras.Sequential([keras.Input(shape), make(LAST)])
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    turned = np.moveaxis(x, -1, 1)
    wanted = np.moveaxis(np.asarray(twin(x)), -1, 1)
    np.testing.assert_allclose(np.asarray(model(turned)), wanted, rtol=1e-4, atol=1e-5)
    for each in (model, twin):
        each.compile("sgd", "mse")
    model.fit(turned, np.zeros_like(wanted), verbose=0)
    twin.fit(x, np.moveaxis(np.zeros_like(wanted), 1, -1), verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_recurrent_convolution(tmp_path: Path) -> None:
    inputs = keras.Input((3, 2, 5, 6))
    made = keras.Model(inputs, L.ConvLSTM2D(3, 2, data_format="channels_first")(inputs))
    made.save(tmp_path / "model.keras")
    model = load(tmp_path / "model.keras")
    twin = keras.Sequential([keras.Input((3, 5, 6, 2)), L.ConvLSTM2D(3, 2)])
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6, 2)).astype("float32")
    found = np.asarray(model(np.moveaxis(x, -1, 2)))
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), np.asarray(twin(x)), rtol=1e-4, atol=1e-5)
