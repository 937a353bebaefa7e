"""Layers made without their constructors are those that the constructors make."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from architectures import MODELS
from keras.src.layers.input_spec import InputSpec
from keras.src.ops.node import Node
from keras.src.utils.tracking import Tracker
from pruned_twins import cut, randomise
from tensorflow.python.trackable.base import TrackableReference

from edgepress.compress.structure.surgery import surgery
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.surgery.twin_variables import variable_twin
from edgepress.compress.structure.surgery.twins import PLAIN
from edgepress.compress.structure.tracing.groups import find_channels

layers = keras.layers


def every_class(size: int = 12) -> keras.Model:
    """A model of all layers that have twins, with what their constructors may be given."""
    x = keras.Input((size, size, 4), name="image")
    y = layers.Conv2D(
        16, 3, kernel_regularizer="l2", kernel_constraint="max_norm", activation="gelu"
    )(x)
    y = layers.BatchNormalization(axis=-1, gamma_regularizer="l1")(y, training=False)
    y = layers.ZeroPadding2D(1)(layers.Activation("relu")(y))
    y = layers.Cropping2D(1)(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    z = layers.Conv2D(16, 1, trainable=False)(y)
    y = layers.Add()([layers.ReLU(6.0)(y), layers.LeakyReLU(0.1)(z), layers.ELU()(y)])
    for join in (layers.Multiply, layers.Average, layers.Maximum):
        y = join()([y, z])
    y = layers.Minimum()([layers.Subtract()([y, z]), y])
    y = layers.Concatenate()([layers.MaxPooling2D(2)(y), layers.AveragePooling2D(2)(y)])
    y = layers.Conv2DTranspose(8, 3, strides=2)(layers.UpSampling2D()(y))
    y = layers.SeparableConv2D(8, 3, depth_multiplier=2, name="separable")(y)
    flat = layers.Flatten()(layers.MaxPooling2D(3)(y))
    joined = layers.Concatenate(axis=1)([
        layers.GlobalMaxPooling2D()(y), layers.GlobalAveragePooling2D()(y), flat,
    ])  # fmt: skip
    row = layers.Reshape((-1, 4))(joined)
    row = layers.Cropping1D(1)(layers.ZeroPadding1D(1)(layers.Conv1D(8, 2)(row)))
    row = layers.SeparableConv1D(8, 2)(layers.DepthwiseConv1D(2)(row))
    row = layers.Conv1DTranspose(8, 2)(layers.UpSampling1D(2)(row))
    row = layers.AveragePooling1D(2)(layers.MaxPooling1D(2)(row))
    ends = layers.Add()([layers.GlobalMaxPooling1D()(row), layers.GlobalAveragePooling1D()(row)])
    cube = layers.Conv3DTranspose(4, 2)(layers.Conv3D(4, 1)(layers.Reshape((2, 2, 2, 1))(ends)))
    return keras.Model(x, layers.Dense(3, dtype="float32")(layers.Flatten()(cube)))


def shared_and_nested() -> keras.Model:
    """A layer and a model that are called twice."""
    x = keras.Input((6, 6, 3))
    inner_x = keras.Input((6, 6, 8))
    inner = keras.Model(inner_x, layers.ReLU()(layers.Conv2D(8, 3, padding="same")(inner_x)))
    shared = layers.Conv2D(8, 3, padding="same")
    y = inner(shared(layers.Conv2D(8, 1)(x)))
    y = layers.GlobalAveragePooling2D()(shared(inner(y)))
    return keras.Model(x, layers.Dense(2)(y))


def masked_words() -> keras.Model:
    """Masks travel through layers that have twins."""
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(10, 8, mask_zero=True)(x)
    y = layers.Activation("relu")(layers.Dense(12)(y))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))


def mixed() -> keras.Model:
    """Weights in float32 that are computed with in float16."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        return every_class()
    finally:
        keras.mixed_precision.set_global_policy(before)


NETWORKS = {
    "every class": every_class,
    "shared and nested": shared_and_nested,
    "masked words": masked_words,
    "mixed": mixed,
    **MODELS,
}


def told(value: Any) -> Any:
    """A value as what can be compared: everything but identities."""
    if isinstance(value, keras.Variable):
        kind = value.regularizer and type(value.regularizer), type(value.constraint)
        own = (value.name, value.path, tuple(value.shape), value.dtype, value.trainable)
        own = (*own, value._autocast, value.aggregation, value.synchronization, kind)
        return *own, value._overwrite_with_gradient, held(value), np.asarray(value).tobytes()
    if isinstance(value, TrackableReference):
        return value.name, told(value.ref)
    if isinstance(value, Node):
        inputs = [(t.shape, t.dtype) for t in value.input_tensors]
        given = {k: v for k, v in value.arguments.kwargs.items() if not hasattr(v, "shape")}
        return inputs, given, [(t.shape, t.dtype, t.sparse) for t in value.output_tensors]
    if isinstance(value, Tracker):
        return value.locked, {k: len(v) for k, v in value.stored_ids.items()}
    if isinstance(value, InputSpec):
        return sorted((k, str(v)) for k, v in vars(value).items())
    if isinstance(value, dict):
        return type(value).__name__, {k: told(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        # A call notes a conversion of its input that its own node doesn't read.
        return type(value).__name__, [told(v) for v in value if not _converts(v)]
    if isinstance(value, FunctionType):
        return value.__qualname__
    if hasattr(value, "get_config"):
        return type(value).__name__, str(value.get_config())
    return str(value)


def held(weight: keras.Variable) -> tuple[Any, ...]:
    """What TensorFlow holds a weight in, without its number and its identities."""
    value = weight.value
    known = {"_handle", "_unique_id", "_graph_key"}
    own = {n: str(v) for n, v in vars(value).items() if n not in known and n[:6] != "_self_"}
    handle = value.handle
    own["trainable"] = value.trainable
    name, number = value._unique_id.rsplit("_", 1)
    return own, handle._name, handle._handle_data, handle.device, name, number.isdigit()


def _converts(value: Any) -> bool:
    return isinstance(value, Node) and type(value.operation).__name__ == "Cast"


def attributes(layer: keras.Layer) -> dict[str, Any]:
    """What a layer holds; the arguments of its constructor as `get_config` shows them."""
    own = {n: told(v) for n, v in vars(layer).items() if n != "_auto_config"}
    return {**own, "config": str(layer.get_config())}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_twins_equal_what_constructors_make(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = randomise(NETWORKS[name]())
    channels = find_channels(model)
    alive = cut(channels, share) if share else channels.all_alive()
    quick = remove(channels, alive).model
    monkeypatch.setattr(surgery, "twin_of", lambda *_: None)
    slow = remove(channels, alive).model
    pairs = zip(quick._flatten_layers(), slow._flatten_layers(), strict=True)
    compared = [p for p in pairs if type(p[0]) in PLAIN]
    for one, other in compared:
        assert attributes(one) == attributes(other), one.name
    assert quick.to_json() == slow.to_json()
    assert [t.shape for t in quick.outputs] == [t.shape for t in slow.outputs]


def test_every_class_with_a_twin_is_compared_and_has_one() -> None:
    model = every_class()
    assert {type(x) for x in model.layers} >= PLAIN
    work = remove(find_channels(model), find_channels(model).all_alive())._rebuild
    plain = [x for x in model.layers if type(x) in PLAIN]
    assert {id(x) for x in plain} == work.twins


def test_a_function_knows_the_shapes_of_a_twins_weights() -> None:
    model = randomise(every_class())
    twin = remove(find_channels(model), cut(find_channels(model), 0.5)).model

    @tf.function
    def shapes() -> list[tf.Tensor]:
        read = [weight.value.read_value() for weight in twin.weights]
        assert [tuple(x.shape) for x in read] == [tuple(w.shape) for w in twin.weights]
        return read

    for one, other in zip(shapes(), twin.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_strategy_of_distribution_makes_its_own_variables() -> None:
    weight = keras.Variable(np.ones(3, np.float32), name="kernel")
    assert variable_twin(weight, tf.zeros(2), True, "layer") is not None
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        assert variable_twin(weight, tf.zeros(2), True, "layer") is None


def test_weights_that_are_left_whole_change_by_themselves() -> None:
    model = randomise(every_class())
    twin = remove(find_channels(model), find_channels(model).all_alive()).model
    before = [np.array(w) for w in model.weights]
    for weight in twin.weights:
        weight.assign_add(np.ones(weight.shape))
    for weight, was in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, was)
    changed = [np.array(w) for w in twin.weights]
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    for weight, was in zip(twin.weights, changed, strict=True):
        np.testing.assert_array_equal(weight, was)


def test_a_twin_is_built_and_rounded_as_a_layer_of_its_own() -> None:
    model = randomise(every_class())
    twin = remove(find_channels(model), find_channels(model).all_alive()).model
    layer, old = twin.layers[-1], model.layers[-1]
    kernel = np.array(old.kernel)
    layer.quantize("int8")
    assert layer.quantization_mode == "int8"
    assert old.quantization_mode is None
    np.testing.assert_array_equal(old.kernel, kernel)
