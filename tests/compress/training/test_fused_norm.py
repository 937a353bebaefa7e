from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.training.numerics.fused_norm import fused_batch_norm

OPTIONS = st.fixed_dictionaries(
    {
        "momentum": st.sampled_from([0.0, 0.5, 0.99]),
        "epsilon": st.sampled_from([1e-7, 1e-3, 0.1]),
        "center": st.booleans(),
        "scale": st.booleans(),
        "trainable": st.booleans(),
    }
)


def normaliser(shape: tuple[int, ...], **options: Any) -> Any:
    inputs = keras.Input(shape)
    layer = keras.layers.BatchNormalization(name="bn", **options)
    model = keras.Model(inputs, layer(inputs))
    random = np.random.default_rng(2)
    for variable in model.weights:
        variable.assign(random.uniform(0.5, 2.0, variable.shape))
    return model


def pass_through(model: Any, x: Any, training: bool) -> tuple[Any, Any, list[Any]]:
    """Output, gradient of a weighted sum with respect to the input, and all variables after."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=training)
        loss = tf.reduce_sum(
            y * tf.cos(tf.range(tf.size(y), dtype=y.dtype) * 0.37).numpy().reshape(y.shape)
        )
    return y.numpy(), tape.gradient(loss, x).numpy(), [v.numpy() for v in model.weights]


@settings(max_examples=25, deadline=None)
@given(OPTIONS, st.booleans(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6))
def test_equals_keras(options: Any, training: bool, n: int, side: int, channels: int) -> None:
    model = normaliser((side, side, channels), **options)
    fused = copy_model(model)
    x = np.random.default_rng(3).normal(1.0, 2.0, (n, side, side, channels)).astype("float32")
    expected = pass_through(model, x, training)
    with fused_batch_norm(fused) as count:
        found = pass_through(fused, x, training)
    assert count == 1
    # Keras shifts after scaling, so where values hardly vary its own rounding is scaled up.
    scale = float(np.abs(x).max() / np.sqrt(x.var((0, 1, 2)).min() + options["epsilon"]))
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-4, atol=2e-4 + 1e-6 * scale)
    if n * side * side > 1:
        bound = 2e-3 * max(1.0, float(np.abs(expected[1]).max()))
        np.testing.assert_allclose(found[1], expected[1], atol=bound)
    for a, b in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "options"), [((8,), {}), ((4, 4, 3), {"axis": 1}), ((4, 4, 3), {"renorm": True})]
)
def test_leaves_other_layers_alone(shape: tuple[int, ...], options: Any) -> None:
    with fused_batch_norm(normaliser(shape, **options)) as count:
        assert count == 0


def test_restores_the_layer_even_after_an_error() -> None:
    model = normaliser((4, 4, 3))
    config, keys = model.get_config(), set(vars(model.get_layer("bn")))
    with pytest.raises(ZeroDivisionError), fused_batch_norm(model):
        _ = 1 / (model.get_config() != config)
    assert set(vars(model.get_layer("bn"))) == keys
