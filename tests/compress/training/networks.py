"""Tiny networks and data for the tests of fine-tuning."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

layers = keras.layers


def seeded(build: Any) -> Any:
    """A network whose initial weights are the same in every process."""
    keras.utils.set_random_seed(5)
    return build()


def classifier() -> Any:
    """Two convolutions with batch norm and dropout, the second nested in a model."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(6, 3, padding="same", name="conv2"),
            layers.BatchNormalization(name="bn2"),
            layers.ReLU(name="relu2"),
        ],
        name="block",
    )
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(x)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = inner(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="drop")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))


def encoder_decoder() -> Any:
    """The seed's kind of network: convolutions down and up, image to image."""
    x = inputs = keras.Input((16, 16, 1), name="data_input")
    for i in range(1, 4):
        strides = 2 if i > 1 else 1
        x = layers.Conv2D(4, 3, strides, padding="same", name=f"encoder_conv{i}")(x)
        x = layers.BatchNormalization(name=f"encoder_bn{i}")(x)
        x = layers.ReLU(name=f"encoder_relu{i}")(x)
    for i in range(4, 7):
        if i < 6:
            x = layers.UpSampling2D(name=f"decoder_up{i}")(x)
        x = layers.Conv2D(4, 3, padding="same", name=f"decoder_conv{i}")(x)
        x = layers.BatchNormalization(name=f"decoder_bn{i}")(x)
        x = layers.ReLU(name=f"decoder_relu{i}")(x)
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", name="decoder_conv7")(x))


def classes(n: int = 96, seed: int = 0) -> dict[str, Any]:
    """Images whose mean colour says the class."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    x = random.normal(size=(n, 8, 8, 3)).astype("float32")
    x[np.arange(n), :, :, y] += 1.0
    return {"x": x, "y": y.astype("int64")}


def noisy_images(n: int = 64) -> dict[str, Any]:
    """Smooth images and the same with noise, under the seed's names."""
    random = np.random.default_rng(1)
    clean = random.normal(size=(n, 4, 4, 1)).repeat(4, 1).repeat(4, 2).astype("float32")
    noise = random.normal(scale=0.3, size=clean.shape).astype("float32")
    return {"data_input": clean + noise, "data_target": clean}


def arrays_of(model: Any) -> dict[str, Any]:
    """Values of all weights by path, copied."""
    return {v.path: np.array(v.numpy()) for v in model.weights}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Paths of the weights that differ in any bit, by layer and variable."""
    pairs = zip(before.items(), after.values(), strict=True)
    return {"/".join(p.split("/")[-2:]) for (p, a), b in pairs if a.tobytes() != b.tobytes()}
