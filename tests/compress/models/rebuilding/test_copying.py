"""Models of which a copy is made may be compiled with what only the caller knows."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgepress import compress

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.arange(40) % 3


class OwnAdam(keras.optimizers.Adam):
    pass


def own_loss(targets, outputs):
    return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, outputs))


def own_metric(targets, outputs):
    return ops.mean(outputs)


def compiled(model):
    model.compile(OwnAdam(), own_loss, metrics=[own_metric])
    return model


def layered():
    return [keras.Input((4,)), layers.Dense(6, activation="relu"), layers.Dropout(0.1)]


def sequential():
    return keras.Sequential([*layered(), layers.Dense(3, activation="softmax")])


def functional():
    given = keras.Input((4,))
    inner = compiled(keras.Sequential(layered()))
    return keras.Model(given, layers.Dense(3, activation="softmax")(inner(given)))


WAYS = {
    "finetune": lambda model, data: compress.finetune(model, data, epochs=1),
    "prune": lambda model, data: compress.prune(model, data, structure="weights", sparsity=0.5),
    "strip": lambda model, _: compress.strip(model),
    "advise": lambda model, data: compress.advise(model, data),
}


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("way", WAYS)
def test_an_unregistered_loss_metric_and_optimizer_stand_in_no_ones_way(way, make):
    model = compiled(make())
    WAYS[way](model, {"train": (X, Y), "val": (X, Y)})
    assert model.compiled
    assert type(model.optimizer) is OwnAdam
