"""Subclassed models become functional ones that compute the same."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgepress.compress.errors import InputError
from edgepress.compress.models import load
from edgepress.compress.models.rebuilding.flatten import flatten, is_flat

X = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


class Block(layers.Layer):
    def __init__(self, filters: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = layers.Conv2D(filters, 3, strides=stride, padding="same", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(filters, 3, padding="same", name="second")
        self.short = layers.Conv2D(filters, 1, strides=stride, name="short")

    def call(self, x: Any, training: bool = False) -> Any:
        y = ops.relu(self.norm(self.first(x), training=training))
        return ops.relu(self.second(y) + self.short(x))


class ResNet(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="resnet")
        self.stem = layers.Conv2D(4, 3, padding="same", name="stem")
        self.blocks = [Block(4, name="one"), Block(6, stride=2, name="two")]
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.head = layers.Dense(5, name="head")

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.pool(x))


def _randomized(model: Any, example: Any = X) -> Any:
    model(example)
    random = np.random.default_rng(1)
    model.set_weights([np.abs(random.normal(0.1, 0.3, w.shape)) for w in model.get_weights()])
    return model


def _equal(model: Any, flat: Any, example: Any = X) -> None:
    np.testing.assert_allclose(
        np.asarray(flat(example)), np.asarray(model(example)), rtol=1e-5, atol=1e-6
    )


def test_blocks_are_entered() -> None:
    model = _randomized(ResNet())
    flat = flatten(model, X)
    _equal(model, flat)
    assert is_flat(flat)
    kinds = {type(layer).__name__ for layer in flat.layers}
    assert "Block" not in kinds
    assert {"one_first", "two_second", "stem", "head"} <= {layer.name for layer in flat.layers}
    assert flat.count_params() == model.count_params()


def test_the_source_stays_as_it_is() -> None:
    model = _randomized(ResNet())
    before = model(X)
    flat = flatten(model, X)
    flat.set_weights([np.zeros_like(w) for w in flat.get_weights()])
    np.testing.assert_array_equal(np.asarray(model(X)), np.asarray(before))
    assert next(layer.name for layer in model.blocks[1]._layers) == "first"


def test_batch_norm_still_trains() -> None:
    """`training=False` as a default must not be frozen into the graph."""
    flat = flatten(_randomized(ResNet()), X)
    norm = flat.get_layer("one_norm")
    before = np.array(norm.moving_mean)
    flat(X, training=True)
    assert np.abs(np.array(norm.moving_mean) - before).max() > 0


def test_it_is_saved_and_loaded(tmp_path: Any) -> None:
    model = _randomized(ResNet())
    flat = flatten(model, X)
    flat.save(tmp_path / "flat.keras")
    _equal(model, keras.models.load_model(tmp_path / "flat.keras"))


def test_shapes_it_was_built_with_are_enough() -> None:
    model = _randomized(ResNet())
    _equal(model, flatten(model))


def test_a_model_never_called_is_refused() -> None:
    with pytest.raises(InputError, match="never called"):
        flatten(ResNet())


def test_a_functional_model_comes_back() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert flatten(model) is model


class Chooser(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="chooser")
        self.dense = layers.Dense(2)

    def call(self, x: Any) -> Any:
        y = self.dense(x)
        if ops.sum(y) > 0:
            return y
        return -y


def test_control_flow_on_values_is_named() -> None:
    model = Chooser()
    with pytest.raises(InputError, match="decides by the value of a tensor") as caught:
        flatten(model, np.ones((2, 3), "float32"))
    assert "chooser" in caught.value.message
    assert "keras.ops" in caught.value.hint


class TensorFlowInside(layers.Layer):
    def call(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.nn.relu(x) * 2.0


class Mixed(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="mixed")
        self.conv = layers.Conv2D(4, 3, name="conv")
        self.odd = TensorFlowInside(name="odd")
        self.head = layers.Dense(2, name="head")

    def call(self, x: Any) -> Any:
        return self.head(ops.mean(self.odd(self.conv(x)), axis=(1, 2)))


def test_a_layer_with_tensorflow_functions_stays_whole() -> None:
    model = _randomized(Mixed())
    flat = flatten(model, X)
    _equal(model, flat)
    assert {"conv", "odd", "head"} <= {layer.name for layer in flat.layers}


class Scaled(layers.Layer):
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", initializer="ones")

    def call(self, x: Any) -> Any:
        return x * self.scale


class WithWeights(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.scaled = Scaled(name="scaled")
        self.dense = layers.Dense(2, name="dense")

    def call(self, x: Any) -> Any:
        return self.dense(self.scaled(x))


def test_a_layer_with_weights_of_its_own_stays_whole() -> None:
    example = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model = _randomized(WithWeights(), example)
    flat = flatten(model, example)
    _equal(model, flat, example)
    assert flat.count_params() == model.count_params()


class TwoInputs(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3, name="dense")

    def call(self, inputs: Any) -> Any:
        return {"sum": self.dense(inputs["a"]) + self.dense(inputs["b"]), "a": inputs["a"] * 2.0}


def test_shared_layers_and_named_inputs_and_outputs() -> None:
    example = {key: np.full((2, 4), value, "float32") for key, value in (("a", 0.5), ("b", 2.0))}
    model = TwoInputs()
    wanted = model(example)
    found = flatten(model, example)(example)
    assert set(found) == {"sum", "a"}
    for key in wanted:
        np.testing.assert_allclose(np.asarray(found[key]), np.asarray(wanted[key]), rtol=1e-5)


class Nested(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="nested")
        self.inner = ResNet()
        self.tail = keras.Sequential([layers.Dense(4), layers.Dense(2)], name="tail")

    def call(self, x: Any) -> Any:
        return self.tail(self.inner(x))


def test_models_inside_models() -> None:
    model = _randomized(Nested())
    flat = flatten(model, X)
    _equal(model, flat)
    assert flat.get_layer("resnet_one_first") is not None


def test_load_flattens_what_a_function_returns(tmp_path: Any) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "import keras\n"
        "class Net(keras.Model):\n"
        "    def __init__(self):\n"
        "        super().__init__(name='net')\n"
        "        self.dense = keras.layers.Dense(2, name='dense')\n"
        "    def call(self, x):\n"
        "        return keras.ops.relu(self.dense(x))\n"
        "def make():\n"
        "    net = Net()\n"
        "    net(keras.ops.ones((1, 3)))\n"
        "    return net\n"
    )
    model = load(f"{code}:make")
    assert is_flat(model)
    assert model.input_shape == (None, 3)
