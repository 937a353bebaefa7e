"""Shapes written in annotations are checked while these tests run; small models of every kind."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest
from jaxtyping import install_import_hook

install_import_hook(
    [
        f"edgepress.compress.weights.{name}"
        for name in ("masks.layouts", "masks.masks", "allocation.densities", "schedules")
    ],
    "beartype.beartype",
)

layers = keras.layers
Build = Callable[[], keras.Model]


def _model(shape: tuple[int | None, ...], *stack: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *stack])


def _shared() -> keras.Model:
    shared = layers.Dense(6, name="shared")
    left, right = keras.Input((6,)), keras.Input((6,))
    return keras.Model([left, right], layers.add([shared(left), shared(shared(right))]))


def _nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(9, name="in")], name="inner")
    inputs = keras.Input((8,))
    return keras.Model(inputs, layers.Dense(5, name="out")(inner(inputs)))


def _attention() -> keras.Model:
    inputs = keras.Input((5, 12))
    attended = layers.MultiHeadAttention(3, 4, name="attention")(inputs, inputs)
    return keras.Model(inputs, layers.LayerNormalization()(attended))


MODELS: dict[str, Build] = {
    "dense": lambda: _model((13,), layers.Dense(11), layers.Dense(3)),
    "einsum": lambda: _model((4, 6), layers.EinsumDense("abc,cde->abde", (4, 5, 3))),
    "conv1d": lambda: _model((9, 5), layers.Conv1D(7, 3)),
    "conv2d": lambda: _model((8, 8, 3), layers.Conv2D(6, 3), layers.Conv2D(5, 1)),
    "grouped": lambda: _model((8, 8, 8), layers.Conv2D(12, 3, groups=4)),
    "conv3d": lambda: _model((4, 4, 4, 3), layers.Conv3D(5, 2)),
    "transposed": lambda: _model((5, 5, 6), layers.Conv2DTranspose(7, 3)),
    "separable": lambda: _model((8, 8, 5), layers.SeparableConv2D(9, 3)),
    "lstm": lambda: _model((4, 5), layers.LSTM(6)),
    "gru": lambda: _model((4, 5), layers.GRU(6)),
    "rnn": lambda: _model((4, 5), layers.SimpleRNN(6)),
    "stacked": lambda: _model((4, 5), layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])),
    "bidirectional": lambda: _model((4, 5), layers.Bidirectional(layers.GRU(4))),
    "conv_lstm": lambda: _model((3, 6, 6, 2), layers.ConvLSTM2D(4, 3)),
    "time_distributed": lambda: _model((4, 7), layers.TimeDistributed(layers.Dense(6))),
    "embedding": lambda: _model((4,), layers.Embedding(17, 6)),
    "attention": _attention,
    "nested": _nested,
    "shared": _shared,
}


@pytest.fixture(scope="session", params=MODELS)
def any_model(request: pytest.FixtureRequest) -> keras.Model:
    """One model for each kind of layer that holds a kernel."""
    keras.utils.set_random_seed(0)
    return MODELS[request.param]()


@pytest.fixture(scope="session")
def models() -> dict[str, Build]:
    """The builders, by kind."""
    return MODELS
