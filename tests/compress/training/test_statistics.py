"""Batch normalisation's moving statistics keep up with a short recovery."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress import finetune, prune
from edgepress.compress.training.numerics.moving_statistics import prompt_statistics


def _network() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(name="inner", momentum=0.5)], name="nested"
    )
    inputs = keras.Input((4,))
    x = inner(layers.BatchNormalization(name="outer")(inputs))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Dense(8)(x)))


@pytest.mark.parametrize(("steps", "outer"), [(1, 0.8), (25, 0.8), (100, 0.95), (10_000, 0.99)])
def test_averages_look_back_over_a_part_of_an_epoch_at_most(steps: int, outer: float) -> None:
    model = _network()
    norms = [model.get_layer("outer"), model.get_layer("nested").layers[0]]
    with prompt_statistics(model, steps):
        assert [norm.momentum for norm in norms] == pytest.approx([outer, 0.5])
    assert [norm.momentum for norm in norms] == [0.99, 0.5]


@pytest.mark.parametrize("structure", ["channels", "weights"])
def test_after_an_epoch_of_recovery_the_statistics_are_right(structure: str) -> None:
    keras.utils.set_random_seed(0)
    model = _network()
    random = np.random.default_rng(0)
    x = random.normal(5.0, 2.0, size=(400, 4)).astype("float32")
    y = random.integers(0, 3, 400)
    data = {"x_train": x[:320], "y_train": y[:320], "x_val": x[320:], "y_val": y[320:]}
    more = {"recover_epochs": 1, "recover_batch_size": 16, "recover_lr": 1e-6, "sparsity": 0.5}
    small = prune(model, data, structure=structure, repair=False, **more).model
    norm = small.get_layer("outer")
    np.testing.assert_allclose(norm.moving_mean, x[:320].mean(0), rtol=0.1)
    assert norm.momentum == 0.99


@pytest.mark.parametrize("momentum", [0.99, 0.999])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_short_training_ends_with_statistics_of_its_own(momentum: float, epochs: int) -> None:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BatchNormalization(name="nested", momentum=momentum),
            layers.LayerNormalization(name="layer"),
        ]
    )
    inputs = keras.Input((4,))
    x = inner(layers.BatchNormalization(name="outer", momentum=momentum, center=False)(inputs))
    frozen = layers.BatchNormalization(name="frozen", momentum=momentum)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(frozen(x)))
    random = np.random.default_rng(0)
    x_train = random.normal(5.0, 3.0, size=(64, 4)).astype("float32")
    y_train = random.integers(0, 3, 64)
    data = {"x_train": x_train, "y_train": y_train, "x_val": x_train[:9], "y_val": y_train[:9]}
    options = {"unfreeze": ["outer", "dense*", "sequential*/nested"], "lr": 1e-6}
    tuned = finetune(model, data, epochs=epochs, batch_size=32, **options).model
    outer, held = tuned.get_layer("outer"), tuned.get_layer("frozen")
    np.testing.assert_allclose(outer.moving_mean, x_train.mean(0), rtol=0.02)
    np.testing.assert_allclose(outer.moving_variance, x_train.var(0), rtol=0.1)
    nested = next(la for la in tuned._flatten_layers() if la.name == "nested")
    np.testing.assert_allclose(nested.moving_variance, 1, rtol=0.1)
    np.testing.assert_array_equal(held.moving_variance, 1)
    np.testing.assert_array_equal(held.moving_mean, 0)
    assert {la.momentum for la in (outer, nested, held)} == {momentum}
