"""Outputs that a file names otherwise than the model are told apart by what they give."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.benchmarks.accuracy import judge, judge_known
from edgepress.compress import open_data
from edgepress.deploy.benchmarking.benchmark import judge_for
from edgepress.deploy.sources.opening import open_source


def two_heads(b_width=3):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), name="in")
    heads = [layers.Dense(3, activation="softmax", name="a"),
             layers.Dense(b_width, activation="softmax", name="b")]  # fmt: skip
    return keras.Model(inputs, [head(inputs) for head in heads])


class Session:
    """A file of a model on a device, its outputs in another order and under other names."""

    def __init__(self, model, names):
        self.model, self.names = model, names

    def predict(self, inputs):
        a, b = (t.numpy() for t in self.model(inputs["in"]))
        return dict(zip(self.names, (b, a), strict=True))


def opened(model):
    x = np.random.default_rng(0).normal(size=(600, 6)).astype("float32")
    a, b = (t.numpy().argmax(-1) for t in model(x))
    part = (x, {"a": a, "b": b})
    losses = ["sparse_categorical_crossentropy"] * 2
    model.compile("sgd", loss=losses, metrics=[["accuracy"], ["accuracy"]])
    return open_data({"train": part, "test": part}, model)


@pytest.mark.parametrize("names", [("b", "a"), ("first", "second"), ("a1", "b1")])
@pytest.mark.parametrize("width", [3, 4])
def test_every_output_is_scored_as_itself(names, width):
    model = two_heads(width)
    data = opened(model)
    by = judge_for(data, open_source(model))
    session = Session(model, names)
    found = judge(session, by)
    assert found.value == 1
    assert [row.value for row in found.metrics] == [1, 1]
    everything = np.concatenate([inputs["in"] for inputs, _ in by.batches()])
    assert judge_known(session.predict({"in": everything}), by).value == 1


def test_outputs_that_nothing_tells_apart_are_not_scored():
    model = two_heads()
    found = judge(Session(model, ("first", "second")), judge_for(opened(model)))
    assert found.value is None
    assert "first, second" in found.problem


def test_outputs_of_another_model_are_not_scored():
    model, other = two_heads(), two_heads(5)
    found = judge(Session(other, ("x", "y")), judge_for(opened(model), open_source(model)))
    assert found.value is None
    assert "x, y" in found.problem
