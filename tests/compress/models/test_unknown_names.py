"""What a file needs beside Keras is named at once, and what to define in the place of a lambda."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tf_keras

from edgepress.compress.errors import InputError
from edgepress.compress.models import load

_FILES = ("keras", "h5")


def _model(kind, activation) -> tuple:
    """A model of Keras 3 or tf_keras with two layers and a function of the user's own."""

    class First(kind.layers.Layer):
        def call(self, x):
            return x

    class Second(kind.layers.Layer):
        def call(self, x):
            return x

    inputs = kind.Input((4,))
    dense = kind.layers.Dense(3, activation=activation, name="dense")
    return kind.Model(inputs, dense(First()(Second()(inputs)))), {"First": First, "Second": Second}


def doubled(x):
    return x * 2


@pytest.mark.parametrize("ending", _FILES)
@pytest.mark.parametrize("kind", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_all_unknown_names_are_listed_at_once(kind, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{ending}"
    _model(kind, doubled)[0].save(path)
    with pytest.raises(InputError) as caught:
        load(path)
    for name in ("First", "Second", "doubled"):
        assert name in caught.value.message
        assert name in caught.value.hint


@pytest.mark.parametrize("ending", _FILES)
def test_a_lambda_as_activation_is_replaced_by_a_function_of_a_given_name(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model.{ending}"
    inputs = tf_keras.Input((4,))
    dense = tf_keras.layers.Dense(3, activation=lambda x: x * 2, name="dense")
    model = tf_keras.Model(inputs, dense(inputs))
    model.save(path)
    with pytest.raises(InputError, match="layer 'dense' is a lambda") as caught:
        load(path)
    assert "dense_activation" in caught.value.hint
    again = load(path, {"dense_activation": doubled})
    samples = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(again(samples), model(samples), rtol=1e-5)


@pytest.mark.parametrize("ending", _FILES)
def test_a_lambda_that_keras_cannot_read_back_is_named(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{ending}"
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(3, activation=lambda x: x, name="mine")(inputs)).save(
        path
    )
    with pytest.raises(InputError, match="'mine' is a lambda"):
        load(path)


@pytest.mark.parametrize("ending", _FILES)
def test_both_directions_are_kept_where_the_first_runs_backwards(ending: str, tmp_path) -> None:
    path = tmp_path / f"model.{ending}"
    inputs = tf_keras.Input((6, 4))
    layer = tf_keras.layers.GRU(3, return_sequences=True, go_backwards=True)
    model = tf_keras.Model(inputs, tf_keras.layers.Bidirectional(layer)(inputs))
    model.save(path)
    samples = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(load(path)(samples), model(samples), atol=1e-6)
