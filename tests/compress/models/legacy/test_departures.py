"""What Keras 3 lacks or computes differently comes back equal, also after saving and loading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras1_files import keras1_layer, write_keras1
from old_keras import outputs_of
from variants import mostly_slow

from edgepress.compress.models import load, save

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

L = tf_keras.layers
RANDOM = np.random.default_rng(0)
FIRST = {"data_format": "channels_first", "padding": "same"}


def local(rank: int, shape: tuple[int, ...], **settings: Any) -> Any:
    kind = L.LocallyConnected1D if rank == 1 else L.LocallyConnected2D
    return [kind(3, 3, padding="same", input_shape=shape, **settings)]


CASES: dict[str, Callable[[], Sequence[Any]]] = {
    "local_dense": lambda: local(2, (5, 6, 2), strides=(2, 1), implementation=2),
    "local_sparse": lambda: local(2, (5, 6, 2), strides=(2, 1), implementation=3),
    "local_first": lambda: local(1, (2, 5), implementation=3, data_format="channels_first"),
    "separable_causal": lambda: [
        L.SeparableConv1D(4, 3, padding="causal", dilation_rate=2, input_shape=(8, 3))
    ],
    "time_major": lambda: [
        L.LSTM(3, time_major=True, return_sequences=True, input_shape=(4, 2)),
        L.GRU(2, time_major=True),
    ],
    "time_major_both": lambda: [
        L.Bidirectional(L.SimpleRNN(3, time_major=True, return_sequences=True), input_shape=(4, 2))
    ],
    # As wide as there are channels: Keras 3.15 adds the bias along the width.
    "channels_first_square": lambda: [
        L.Conv2D(4, 3, input_shape=(2, 4, 4), **FIRST),
        L.DepthwiseConv2D(3, **FIRST),
        L.SeparableConv2D(4, 3, **FIRST),
        L.Conv2DTranspose(4, 3, **FIRST),
    ],
    "channels_first_1d": lambda: [
        L.Conv1D(5, 3, input_shape=(2, 5), **FIRST),
        L.Conv1DTranspose(5, 3, activation="relu", **FIRST),
        L.SeparableConv1D(5, 2, **FIRST),
    ],
    "channels_first_3d": lambda: [
        L.Conv3D(3, 2, input_shape=(2, 3, 3, 3), **FIRST),
        L.Conv3DTranspose(3, 2, **FIRST),
    ],
    "channels_first_distributed": lambda: [
        L.TimeDistributed(L.Conv1D(5, 3, **FIRST), input_shape=(3, 2, 5))
    ],
    "tf_activations": lambda: [
        L.Dense(3, activation=tf.nn.crelu, input_shape=(4,)),
        L.Activation(tf.abs),
        L.Activation(tf.square),
        L.Activation(tf.sin),
        L.Activation(tf.exp),
    ],
}


@pytest.mark.parametrize("form", ["h5", "keras"])
@pytest.mark.parametrize("name", CASES)
def test_equal_outputs(name: str, form: str, tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    model = tf_keras.Sequential(list(CASES[name]()))
    model.set_weights([RANDOM.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()])
    model.save(tmp_path / f"old.{form}")
    new = load(save(load(tmp_path / f"old.{form}"), tmp_path / "new.keras"))
    x = RANDOM.uniform(-1, 2, (3, *model.input_shape[1:])).astype("float32")
    wanted = np.asarray(outputs_of(model, x)[0])
    for found in (np.asarray(new(x, training=False)), new.predict(x, verbose=0)):
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def _states(x: Any) -> Any:
    y, *states = L.LSTM(3, return_sequences=True, return_state=True)(x)
    return L.LSTM(3, return_sequences=True)(L.Dense(3)(y), initial_state=states)


def _both_states(x: Any) -> Any:
    y, *states = L.Bidirectional(L.GRU(2, return_sequences=True, return_state=True))(x)
    return L.Bidirectional(L.GRU(2))(y, initial_state=states)


MASKED: dict[str, Callable[[Any], Any]] = {
    "given_states": _states,
    "states_of_both": _both_states,
    "product": lambda x: L.Multiply()([x, L.Activation("sigmoid")(x)]),
    "sum_of_two_masks": lambda x: L.LSTM(2)(L.Add()([x, L.Masking(0.2)(x)])),
    "joined": lambda x: L.LSTM(3)(
        L.Concatenate()([L.LSTM(3, return_sequences=True)(x), L.Concatenate()([x, x])])
    ),
    "averaged": lambda x: L.GlobalAveragePooling1D()(L.Maximum()([x, L.Dense(3)(x)])),
}


@pytest.mark.parametrize(
    "name", mostly_slow(MASKED, "states_of_both", "sum_of_two_masks", "joined")
)
def test_masked_steps(name: str, tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    first = tf_keras.Input((5,), dtype="int32")
    model = tf_keras.Model(first, MASKED[name](L.Embedding(4, 3, mask_zero=True)(first)))
    model.set_weights([RANDOM.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()])
    model.layers[1].set_weights([np.array([[1, 2, 3], [0.2] * 3, [3, 1, 0], [1, 0, 1]])])
    model.save(tmp_path / "old.h5")
    new = load(save(load(tmp_path / "old.h5"), tmp_path / "new.keras"))
    x = np.array([[1, 2, 0, 0, 0], [0, 0, 1, 2, 3], [1, 0, 2, 0, 3], [2, 3, 2, 1, 3]], "int32")
    wanted, found = np.asarray(model(x, training=False)), np.asarray(new(x, training=False))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def _keras1(folder: Path, layers: Sequence[Any], arrays: Sequence[Any] = ()) -> Any:
    """A model of a hand-written Keras 1 file; the arrays are the first layer's."""
    names = [layer["config"]["name"] for layer in layers]
    groups = [(name, arrays if name == names[0] else ()) for name in names]
    return load(write_keras1(folder / "k1.h5", "Sequential", layers, groups))


@pytest.mark.parametrize("mode", [1, 2])
def test_normalisation_without_learned_statistics(tmp_path: Path, mode: int) -> None:
    gamma, beta, *learned = (RANDOM.uniform(0.1, 1, 3) for _ in range(4))
    settings = {"mode": mode, "axis": -1, "epsilon": 0.01, "batch_input_shape": [None, 3]}
    layer = keras1_layer("BatchNormalization", "norm", momentum=0.9, gamma_init="one", **settings)
    model = _keras1(tmp_path, [layer], [gamma, beta, *learned])
    x = RANDOM.normal(size=(5, 3))
    axis = -1 if mode == 1 else 0
    deviation = np.sqrt(x.var(axis, keepdims=True) + 0.01) + (0.01 if mode == 1 else 0)
    wanted = (x - x.mean(axis, keepdims=True)) / deviation * gamma + beta
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)


def test_padding_by_side(tmp_path: Path) -> None:
    sides = {"left_pad": 1, "right_pad": 3}
    layer = keras1_layer("ZeroPadding1D", "pad", padding=sides, batch_input_shape=[None, 4, 2])
    x = RANDOM.normal(size=(2, 4, 2))
    wanted = np.pad(x, ((0, 0), (1, 3), (0, 0)))
    np.testing.assert_allclose(np.asarray(_keras1(tmp_path, [layer])(x)), wanted, rtol=1e-6)


def test_parametric_softplus(tmp_path: Path) -> None:
    alpha, beta = RANDOM.normal(size=4), RANDOM.normal(size=4)
    settings = {"alpha_init": 0.2, "beta_init": 5.0, "batch_input_shape": [None, 4]}
    model = _keras1(
        tmp_path, [keras1_layer("ParametricSoftplus", "soft", **settings)], [alpha, beta]
    )
    x = RANDOM.normal(size=(3, 4))
    wanted = alpha * np.log1p(np.exp(beta * x))
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)


def test_the_layers_of_a_caffe_network(tmp_path: Path) -> None:
    model = _keras1(
        tmp_path,
        [
            keras1_layer("PoolHelper", "cut", batch_input_shape=[None, 6, 4, 5]),
            keras1_layer("LRN", "norm", alpha=0.1, k=1, beta=0.75, n=5),
        ],
    )
    x = RANDOM.normal(size=(2, 6, 4, 5))
    cut = x[:, :, 1:, 1:]
    around = [(cut[:, max(0, i - 2) : i + 3] ** 2).sum(axis=1) for i in range(6)]
    wanted = cut / (1 + 0.1 / 5 * np.stack(around, axis=1)) ** 0.75
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)
