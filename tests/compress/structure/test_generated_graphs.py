"""Exactness over graphs drawn at random, all rules mixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops
from pruned_twins import cut, inputs_for, masked, outputs_of, randomise, relative_gap

from edgepress.compress.cost import model_cost
from edgepress.compress.structure.budget import Budget
from edgepress.compress.structure.groups import find_channels
from edgepress.compress.structure.surgery import remove

L = keras.layers
Draw = Callable[..., Any]


def _width(draw: Draw) -> int:
    return draw(st.sampled_from([4, 6, 8, 12]))


def _conv(draw: Draw, x: Any) -> Any:
    kind = draw(st.sampled_from(["plain", "strided", "dilated", "grouped"]))
    extra: dict[str, Any] = {
        "strided": {"strides": 2},
        "dilated": {"dilation_rate": 2},
        "grouped": {"groups": 2} if x.shape[-1] % 2 == 0 else {},
    }.get(kind, {})
    return L.Conv2D(_width(draw), 3, padding="same", use_bias=draw(st.booleans()), **extra)(x)


def _depthwise(draw: Draw, x: Any) -> Any:
    return L.DepthwiseConv2D(3, padding="same", depth_multiplier=draw(st.sampled_from([1, 2])))(x)


def _separable(draw: Draw, x: Any) -> Any:
    return L.SeparableConv2D(_width(draw), 3, padding="same")(x)


def _transposed(draw: Draw, x: Any) -> Any:
    return L.Conv2DTranspose(_width(draw), 2)(x)


def _norm(draw: Draw, x: Any) -> Any:
    kinds = [L.BatchNormalization, lambda: L.GroupNormalization(-1), L.PReLU, L.LeakyReLU]
    return draw(st.sampled_from(kinds))()(x)


def _act(draw: Draw, x: Any) -> Any:
    return draw(st.sampled_from([L.ReLU(), L.Activation("swish"), L.Dropout(0.1)]))(x)


def _residual(draw: Draw, x: Any) -> Any:
    y = L.Conv2D(x.shape[-1], 3, padding="same", activation="relu")(x)
    if draw(st.booleans()):
        y = L.BatchNormalization()(L.Conv2D(x.shape[-1], 1)(y))
    return draw(st.sampled_from([L.Add, L.Maximum, L.Average]))()([x, y])


def _excite(draw: Draw, x: Any) -> Any:
    g = L.GlobalAveragePooling2D(keepdims=draw(st.booleans()))(x)
    if len(g.shape) == 2:
        g = L.Reshape((1, 1, x.shape[-1]))(g)
    g = L.Conv2D(4, 1, activation="relu")(g)
    return L.Multiply()([x, L.Conv2D(x.shape[-1], 1, activation="sigmoid")(g)])


def _dense_block(draw: Draw, x: Any) -> Any:
    y = L.Conv2D(_width(draw), 3, padding="same")(x)
    return draw(st.sampled_from([L.Concatenate(), lambda p: ops.concatenate(p, -1)]))([x, y])


def _shuffle(draw: Draw, x: Any) -> Any:
    _, high, wide, channels = x.shape
    parts = 2 if channels % 2 == 0 else 1
    y = L.Reshape((high, wide, parts, channels // parts))(x)
    return L.Reshape((high, wide, channels))(L.Permute((1, 2, 4, 3))(y))


def _split(draw: Draw, x: Any) -> Any:
    at = draw(st.integers(1, x.shape[-1] - 1))
    a, b = x[..., :at], x[..., at:]
    return ops.concatenate([ops.relu(b), a * 0.5], axis=-1)


def _pool(draw: Draw, x: Any) -> Any:
    kinds = [L.MaxPooling2D, L.AveragePooling2D, L.UpSampling2D]
    layer = draw(st.sampled_from(kinds))
    return layer(2)(x) if x.shape[1] in (2, 4) or layer is not L.UpSampling2D else x


def _nested(draw: Draw, x: Any) -> Any:
    i = keras.Input(x.shape[1:])
    y = L.Conv2D(x.shape[-1], 1)(L.ReLU()(L.Conv2D(5, 3, padding="same")(i)))
    inner = keras.Model(i, L.Add()([i, y]))
    return inner(inner(x)) if draw(st.booleans()) else inner(x)


def _places(draw: Draw, x: Any) -> Any:
    x = L.Cropping2D(1)(L.ZeroPadding2D(2)(x))
    return ops.transpose(ops.flip(ops.transpose(x, (0, 3, 1, 2)), axis=3), (0, 2, 3, 1))


_STEPS = [
    _conv,
    _depthwise,
    _separable,
    _transposed,
    _norm,
    _act,
    _residual,
    _excite,
    _dense_block,
    _shuffle,
    _split,
    _pool,
    _nested,
    _places,
]


def _sequence_head(draw: Draw, x: Any) -> Any:
    """Places become time steps: recurrent layers, attention."""
    x = L.Reshape((-1, x.shape[-1]))(x)
    kind = draw(st.sampled_from(["lstm", "gru", "attention", "dense"]))
    if kind == "attention":
        x = L.MultiHeadAttention(2, 3)(x, x)
    elif kind == "dense":
        x = L.TimeDistributed(L.Dense(5))(x)
    else:
        x = (L.LSTM if kind == "lstm" else L.GRU)(6, return_sequences=True)(x)
        return L.Bidirectional(L.SimpleRNN(4))(x)
    return L.Flatten()(x)


@st.composite
def graphs(draw: Draw) -> keras.Model:
    i = keras.Input((6, 6, 3))
    x = L.Conv2D(_width(draw), 3, padding="same")(i)
    for step in draw(st.lists(st.sampled_from(_STEPS), min_size=2, max_size=7)):
        if min(x.shape[1:3]) < 2:
            break
        x = step(draw, x)
    heads = [
        lambda y: L.Flatten()(y),
        lambda y: L.GlobalMaxPooling2D()(y),
        lambda y: _sequence_head(draw, y),
    ]
    x = draw(st.sampled_from(heads))(x)
    outputs = [L.Dense(3)(L.Dense(8, activation="relu")(x))]
    if draw(st.booleans()):
        outputs.append(L.Dense(2, activation="softmax")(x))
    return keras.Model(i, outputs)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(model=graphs(), share=st.sampled_from([0.25, 0.5, 0.8]), seed=st.integers(0, 99))
def test_any_graph_prunes_exactly(model: keras.Model, share: float, seed: int) -> None:
    randomise(model, seed)
    channels = find_channels(model)
    alive = cut(channels, share, seed)
    small = remove(channels, alive).model
    inputs = inputs_for(model, seed)
    expected = outputs_of(masked(channels, alive), inputs)
    assert relative_gap(expected, outputs_of(small, inputs)) < 1e-4
    assert model_cost(small).macs == Budget(channels).macs(alive)
    for group in channels.groups:
        assert alive[group.units].any()
