"""What a removal would change beyond itself stays, with a reason; what wouldn't, goes."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops
from pruned_twins import cut, inputs_for, masked, outputs_of, randomise, relative_gap

from edgepress.compress import prune
from edgepress.compress.errors import InputError
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers
Change = Callable[[object], object]


def squash(x: object) -> object:
    return x / ops.sqrt(1 + ops.sum(ops.square(x), -1, keepdims=True))


def mish(x: object) -> object:
    return x * ops.tanh(ops.softplus(x))


def of_eight(x: object) -> object:
    return x * ops.arange(8, dtype="float32")


def around(change: Change, shape: tuple[int, ...] = (6, 5)) -> keras.Model:
    """Eight channels, something that is done with them, and two layers behind."""
    i = keras.Input(shape)
    x = change(L.Dense(8, name="before")(i))
    return randomise(keras.Model(i, L.Dense(3)(L.Dense(8, name="behind")(x))))


PINNED: dict[str, tuple[Change, str]] = {
    "layer with a constant": (
        lambda x: L.Add(name="at")([x, ops.ones((1, 6, 8))]),
        "'at' joins it with a constant array",
    ),
    "operation with a constant": (
        lambda x: x * np.arange(1, 9),
        "joins it with a constant array",
    ),
    "activation of one's own": (L.Activation(squash, name="at"), "'at' runs over all channels"),
    "kernel with one": (
        L.Dense(8, activation=of_eight, name="at"),
        "'at' ends in an activation over all its channels",
    ),
    "recurrent activation": (
        L.GRU(8, recurrent_activation="softmax", return_sequences=True, name="at"),
        "'at' has an activation over all its units",
    ),
    "factors": (L.Rescaling(list(range(1, 9)), name="at"), "'at' holds constants"),
    "softmax over everything": (
        lambda x: ops.softmax(x, axis=None),
        "runs over all channels",
    ),
    "states of two directions": (
        lambda x: L.Bidirectional(
            L.LSTM(4, return_sequences=True, return_state=True), name="at"
        )(x)[0],
        "'at' gives the states of two directions",
    ),
    "models at each step": (
        L.TimeDistributed(keras.Sequential([keras.Input((8,)), L.Dense(8)]), name="at"),
        "'at' runs a whole model at each step",
    ),
}  # fmt: skip


def check_exact(model: keras.Model) -> None:
    channels = find_channels(model)
    alive = cut(channels, 0.5)
    assert not alive.all()
    inputs = inputs_for(model)
    expected = outputs_of(masked(channels, alive), inputs)
    assert relative_gap(expected, outputs_of(remove(channels, alive).model, inputs)) < 1e-4


@pytest.mark.parametrize("name", PINNED)
def test_what_looks_at_all_channels_keeps_them(name: str) -> None:
    change, said = PINNED[name]
    model = around(change)
    reasons = [g.reason for g in find_channels(model).groups]
    assert any(said in reason for reason in reasons), reasons
    check_exact(model)


@pytest.mark.parametrize(
    "change",
    [
        L.Activation(mish),
        L.Dense(8, activation=L.LeakyReLU()),
        L.GRU(8, activation=mish, return_sequences=True),
        L.Rescaling(0.5, offset=1),
        L.Dropout(0.5, noise_shape=(None, 1, 8)),
        lambda x: ops.clip(x, -0.5, 0.5),
        lambda x: L.MultiHeadAttention(2, 4)(x, x, attention_mask=np.tri(6, dtype=bool)[None]),
    ],
)
def test_what_looks_at_one_number_lets_them_go(change: Change) -> None:
    model = around(change)
    groups = find_channels(model).groups
    assert {g.reason for g in groups} == {"", groups[-1].reason}
    check_exact(model)


def test_a_mask_of_dropout_is_cut_too() -> None:
    model = around(L.Dropout(0.5, noise_shape=(None, 1, 8), name="drop"))
    small = prune(model, structure="channels", sparsity=0.5).model
    assert small.get_layer("drop").noise_shape == (None, 1, small.get_layer("before").units)
    small.compile("sgd", "mse")
    small.fit(np.zeros((4, 6, 5)), np.zeros((4, 6, 3)), verbose=0)


def test_a_lambda_of_the_users_own_is_copied() -> None:
    model = around(L.Lambda(lambda t: t * 2, name="twice"))
    reasons = [g.reason for g in find_channels(model).groups]
    assert any("'twice' is a Lambda, for which there is no rule" in r for r in reasons)
    check_exact(model)


def _channels_first(size: int, filters: int) -> keras.Model:
    i = keras.Input((3, size, size))
    x = L.Conv2D(filters, 1, data_format="channels_first", name="at")(i)
    return randomise(keras.Model(i, L.Dense(2)(L.Flatten()(x))))


def test_a_bias_that_keras_adds_along_the_width_is_neither_lost_nor_made() -> None:
    reasons = [g.reason for g in find_channels(_channels_first(8, 8)).groups]
    assert "'at' is as wide as it has channels: Keras adds its bias along the width" in reasons
    channels = find_channels(_channels_first(4, 8))
    with pytest.raises(InputError, match="'at' would be left with 4 channels that are 4 wide"):
        remove(channels, cut(channels, 0.5))
    remove(channels, cut(channels, 0.25))


def test_a_target_out_of_reach_names_the_layer_that_holds_most() -> None:
    cells = L.RNN([L.LSTMCell(16), L.GRUCell(16)], return_sequences=True, name="cells")
    with pytest.raises(InputError, match="limited by: 'cells' is a RNN, for which there is no"):
        prune(around(cells), structure="channels", target_macs=0.5)
