"""A ResNet written as a subclass is pruned and exported like its functional twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from edgepress.compress import prune
from edgepress.compress.models.rebuilding.flatten import flatten
from edgepress.deploy.exporting.export import export

STAGES = (("one", 4, 1), ("two", 6, 2))


class Block(layers.Layer):
    def __init__(self, filters: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = layers.Conv2D(filters, 3, strides=stride, padding="same", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(filters, 3, padding="same", name="second")
        self.short = layers.Conv2D(filters, 1, strides=stride, name="short")

    def call(self, x: Any) -> Any:
        y = ops.relu(self.norm(self.first(x)))
        return ops.relu(self.second(y) + self.short(x))


class ResNet(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="resnet")
        self.stem = layers.Conv2D(4, 3, padding="same", name="stem")
        self.blocks = [Block(f, s, name=n) for n, f, s in STAGES]
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.head = layers.Dense(5, name="head")

    def call(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))


def _twin() -> Any:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for name, filters, stride in STAGES:
        y = layers.Conv2D(filters, 3, strides=stride, padding="same", name=f"{name}_first")(x)
        y = ops.relu(layers.BatchNormalization(name=f"{name}_norm")(y))
        y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_second")(y)
        x = ops.relu(y + layers.Conv2D(filters, 1, strides=stride, name=f"{name}_short")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x))


def test_a_subclassed_resnet_is_pruned_like_its_functional_twin(
    tmp_path: Path, worker: Any
) -> None:
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(96, 8, 8, 3)).astype("float32")
    y = random.integers(0, 5, 96)
    data = {"x_train": x[:64], "y_train": y[:64], "x_test": x[64:], "y_test": y[64:]}
    model = ResNet()
    model(x[:2])
    flat, twin = flatten(model), _twin()
    for layer in twin.layers:
        layer.set_weights(flat.get_layer(layer.name).get_weights() if layer.weights else [])
    np.testing.assert_allclose(np.asarray(flat(x)), np.asarray(twin(x)), rtol=1e-5, atol=1e-6)
    # A criterion of weights alone: what it ranks is the same to the bit in both.
    options = {"structure": "channels", "target_macs": 0.5, "criterion": "l1", "recover_epochs": 0}
    small, other = prune(flat, data, **options), prune(twin, data, **options)
    assert small.after.macs == other.after.macs <= 0.5 * small.before.macs
    assert {(r.layers, r.removed) for r in small.removed} == {
        (r.layers, r.removed) for r in other.removed
    }
    np.testing.assert_allclose(
        np.asarray(small.model(x)), np.asarray(other.model(x)), rtol=1e-4, atol=1e-5
    )
    (artifact,) = export(
        small.model, tmp_path / "out", formats=("tflite",), worker=worker
    ).artifacts
    assert artifact.verified is not None
    assert artifact.verified.passed
