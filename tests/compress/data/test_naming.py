"""Arrays for models of several inputs and outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError

_RANDOM = np.random.default_rng(0)
LEFT, RIGHT = _RANDOM.normal(size=(2, 20, 4)).astype("float32")
CLASS, VALUE = _RANDOM.integers(0, 3, 20), _RANDOM.normal(size=(20, 2)).astype("float32")


@pytest.fixture(scope="module")
def model():
    """Keys that name other tensors than the layers do."""
    b, a = keras.Input((4,), name="b"), keras.Input((4,), name="a")
    both = layers.Concatenate()([a, b])
    outputs = {
        "class": layers.Dense(3, "softmax", name="head")(both),
        "head": layers.Dense(2, name="value")(both),
    }
    return keras.Model({"left": a, "right": b}, outputs)


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        ({"left": LEFT, "right": RIGHT}, {"class": CLASS, "head": VALUE}),
        ({"a": LEFT, "b": RIGHT}, {"head": CLASS, "value": VALUE}),
    ],
    ids=["by-key", "by-name"],
)
@pytest.mark.parametrize("kind", ["arrays", "stream", "npz"])
def test_arrays_go_by_the_keys_of_the_model_or_by_names(model, inputs, targets, kind, tmp_path):
    data = (inputs, targets)
    if kind == "stream":
        data = {"train": tf.data.Dataset.from_tensor_slices(data)}
    elif kind == "npz":
        np.savez(
            tmp_path / "data.npz",
            **{f"x_train__{name}": array for name, array in inputs.items()},
            **{f"y_train__{name}": array for name, array in targets.items()},
        )
        data = tmp_path / "data.npz"
    dataset = open_data({**data, "val": data["train"]} if kind == "stream" else data, model)
    assert dataset.task.losses == ("sparse_categorical_crossentropy", "mse")
    given = next(iter(dataset.train.source.batches(None, 99)))[0]
    for row in given["a"].numpy():
        assert (row == LEFT).all(1).any()
    for row in given["b"].numpy():
        assert (row == RIGHT).all(1).any()


def test_what_is_missing_is_named(model):
    inputs, targets = {"left": LEFT, "right": RIGHT}, {"class": CLASS, "head": VALUE}
    with pytest.raises(InputError, match="no targets for output 'value'"):
        open_data((inputs, {"class": CLASS}), model)
    with pytest.raises(InputError, match="no array for input 'b'"):
        open_data(({"left": LEFT}, targets), model)
    stream = tf.data.Dataset.from_tensor_slices(({"left": LEFT}, targets))
    with pytest.raises(InputError, match="no value for the model's input 'b'"):
        open_data({"train": stream, "val": stream}, model)
