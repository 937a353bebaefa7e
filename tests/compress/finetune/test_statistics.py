"""Batch normalisation's moving statistics keep up with a short recovery."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress import prune
from edgepress.compress.finetune.statistics import prompt_statistics


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
