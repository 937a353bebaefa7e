"""A pruned layer's weights begin with the values that are left to them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgepress import compress


@keras.saving.register_keras_serializable("initial_values")
class Doubling(keras.layers.Layer):
    """A layer whose `build` changes the weight that it has just made."""

    def build(self, shape: Any) -> None:
        self.factor = self.add_weight(shape=(1,), initializer="ones", name="factor")
        self.factor.assign(self.factor * 2)

    def call(self, x: Any) -> Any:
        return x * self.factor


def network() -> keras.Model:
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(8, 3, padding="same", name="first")(x)
    y = keras.layers.BatchNormalization(name="norm")(y)
    y = keras.layers.SeparableConv2D(16, 3, activation="relu", name="second")(y)
    y = keras.layers.GlobalAveragePooling2D()(y)
    y = keras.layers.Dense(12, name="wide")(y)
    model = keras.Model(x, Doubling()(keras.layers.Dense(3, name="out")(y)))
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def test_every_weight_is_a_cut_of_the_original_one() -> None:
    model = network()
    small = compress.prune(model, structure="channels", sparsity=0.3, criterion="l1").model
    assert small.count_params() < model.count_params()
    for before, after in zip(model.weights, small.weights, strict=True):
        assert set(np.ravel(after)) <= set(np.ravel(before)), after.path
        assert after.trainable == before.trainable


@pytest.mark.parametrize("name", ["first", "out"])
def test_a_new_layer_makes_weights_as_ever(name: str) -> None:
    small = compress.prune(network(), structure="channels", sparsity=0.3, criterion="l1").model
    layer = small.get_layer(name)
    assert type(layer.kernel_initializer).__name__ == "GlorotUniform"
    again = type(layer).from_config(layer.get_config())
    again.build(layer.input.shape)
    assert not np.array_equal(again.kernel, layer.kernel)
    assert "add_weight" not in vars(layer)
