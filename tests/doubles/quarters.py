"""Images of four classes, which quarter is brightest, and a small residual network for them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

L = keras.layers


def images(samples: int, train: int, brightness: float) -> dict[str, Any]:
    """Eight-by-eight images by split: the first `train` of `samples`, and the rest for test."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, samples)
    x = rng.normal(size=(samples, 8, 8, 1)).astype("float32")
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += brightness
    return {
        "x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]
    }  # fmt: skip


def network(seed: int, hidden: str) -> keras.Model:
    """A residual branch, then a dense layer with the activation `hidden`."""
    keras.utils.set_random_seed(seed)
    i = keras.Input((8, 8, 1))
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(i)))
    y = L.ReLU()(L.Conv2D(16, 3, padding="same", name="branch")(x))
    x = L.ReLU()(L.Add()([x, L.Conv2D(16, 3, padding="same", name="back")(y)]))
    x = L.Dense(16, activation=hidden, name="hidden")(L.Flatten()(L.MaxPooling2D()(x)))
    return keras.Model(i, L.Dense(4, activation="softmax", name="out")(x))
