"""Graphs drawn at random in which all layer rules mix: images, sequences, tokens, volumes, vectors.

A step takes a tensor and gives another; which steps fit depends on the tensor's rank, and some
change it, so that one graph passes through several kinds of data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from hypothesis import strategies as st
from keras import ops

L = keras.layers
Draw = Callable[..., Any]
Step = Callable[[Draw, Any], Any]


def _width(draw: Draw) -> int:
    return draw(st.sampled_from([4, 6, 8, 12]))


def _one_of(draw: Draw, *choices: Any) -> Any:
    return draw(st.sampled_from(choices))


def _even(x: Any) -> bool:
    return x.shape[-1] % 2 == 0


# Any rank above 2: channels last.


def _norm(draw: Draw, x: Any) -> Any:
    kinds = [
        L.BatchNormalization,
        L.LayerNormalization,
        L.RMSNormalization,
        L.UnitNormalization,
        lambda: L.GroupNormalization(-1),
        lambda: L.GroupNormalization(2 if _even(x) else 1),
    ]
    return draw(st.sampled_from(kinds))()(x)


def _act(draw: Draw, x: Any) -> Any:
    shared = list(range(1, len(x.shape) - 1))
    kinds = [
        L.ReLU,
        L.LeakyReLU,
        lambda: L.Activation("swish"),
        lambda: L.Dropout(0.1),
        L.PReLU,
        lambda: L.PReLU(shared_axes=shared),
    ]
    return draw(st.sampled_from(kinds))()(x)


def _dense(draw: Draw, x: Any) -> Any:
    letters = "abcde"[: len(x.shape)]
    flat = f"{letters},{letters[-1]}z->{letters[:-1]}z"
    wide = f"{letters},{letters[-1]}yz->{letters[:-1]}yz"
    back = f"{letters[:-1]}yz,yzx->{letters[:-1]}x"
    kind = _one_of(draw, "dense", "einsum", "heads")
    if kind == "dense":
        return L.Dense(_width(draw))(x)
    if kind == "einsum":
        return L.EinsumDense(flat, (*x.shape[1:-1], _width(draw)), bias_axes="z")(x)
    # As many heads as no axis is long: Keras misreads the bias of heads that become one wide.
    y = L.EinsumDense(wide, (*x.shape[1:-1], 17, 4), bias_axes="yz")(x)
    return L.EinsumDense(back, (*x.shape[1:-1], _width(draw)))(y)


def _residual(draw: Draw, x: Any) -> Any:
    y = L.Dense(x.shape[-1], activation="relu")(x)
    if draw(st.booleans()):
        y = L.BatchNormalization()(L.Dense(x.shape[-1])(y))
    return _one_of(draw, L.Add, L.Maximum, L.Average, L.Subtract)()([x, y])


def _shared(draw: Draw, x: Any) -> Any:
    """One layer at two places, or a nested model used once or twice."""
    if draw(st.booleans()):
        layer = L.Dense(_width(draw))
        return L.Add()([layer(x), layer(L.ReLU()(x))])
    i = keras.Input(x.shape[1:])
    y = L.Dense(x.shape[-1])(L.ReLU()(L.Dense(5)(i)))
    stack = keras.Sequential([i, L.Dense(x.shape[-1]), L.BatchNormalization()])
    inner = _one_of(draw, keras.Model(i, L.Add()([i, y])), stack)
    return inner(inner(x)) if draw(st.booleans()) else inner(x)


def _joined(draw: Draw, x: Any) -> Any:
    y = L.Dense(_width(draw))(x)
    join = _one_of(draw, L.Concatenate(), lambda p: ops.concatenate(p, -1))
    return join(_one_of(draw, [x, y], [y, x], [x, y, x]))


def _sliced(draw: Draw, x: Any) -> Any:
    at = draw(st.integers(1, x.shape[-1] - 1))
    a, b = x[..., :at], x[..., at:]
    if draw(st.booleans()):
        a, b = ops.split(x, [at], axis=-1)
    return ops.concatenate([ops.relu(b), a * 0.5], axis=-1)


def _copied(draw: Draw, x: Any) -> Any:
    ones = [1] * (len(x.shape) - 1)
    kinds = [lambda: ops.tile(x, (*ones, 2)), lambda: ops.repeat(x, 2, axis=-1)]
    return L.Dense(_width(draw))(draw(st.sampled_from(kinds))())


def _stacked(draw: Draw, x: Any) -> Any:
    """Halves of the channels become an axis of their own, and channels again."""
    if not _even(x):
        return x
    parts = ops.split(x, 2, axis=-1)
    stacked = ops.stack(parts, axis=_one_of(draw, -2, -1))
    return ops.reshape(stacked, (-1, *x.shape[1:]))


ANY: list[Step] = [_norm, _act, _dense, _residual, _shared, _joined, _sliced, _copied, _stacked]


# Images.


def _conv(draw: Draw, x: Any) -> Any:
    kind = _one_of(draw, "plain", "strided", "dilated", "grouped", "one each")
    extra: dict[str, Any] = {
        "strided": {"strides": 2},
        "dilated": {"dilation_rate": 2},
        "grouped": {"groups": 2} if _even(x) else {},
    }.get(kind, {})
    width = _width(draw)
    if kind == "one each":
        width, extra = 2 * x.shape[-1], {"groups": x.shape[-1]}
    return L.Conv2D(width, 3, padding="same", use_bias=draw(st.booleans()), **extra)(x)


def _depthwise(draw: Draw, x: Any) -> Any:
    multiplier = _one_of(draw, 1, 2)
    if draw(st.booleans()):
        return L.DepthwiseConv2D(3, padding="same", depth_multiplier=multiplier)(x)
    return L.SeparableConv2D(_width(draw), 3, padding="same", depth_multiplier=multiplier)(x)


def _transposed(draw: Draw, x: Any) -> Any:
    return L.Conv2DTranspose(_width(draw), 2)(x)


def _first(draw: Draw, x: Any) -> Any:
    """Layers with the channels first; convolutions of that kind don't run on every processor."""
    first: dict[str, Any] = {"data_format": "channels_first"}
    kinds = [
        lambda: L.GroupNormalization(-1, axis=1),
        lambda: L.LayerNormalization(axis=1),
        lambda: L.ZeroPadding2D(1, **first),
        lambda: L.UpSampling2D(1, **first),
        lambda: L.MaxPooling2D(2, padding="same", **first),
    ]
    y = L.BatchNormalization(axis=1)(L.Permute((3, 1, 2))(x))
    return L.Permute((2, 3, 1))(draw(st.sampled_from(kinds))()(y))


def _excite(draw: Draw, x: Any) -> Any:
    g = L.GlobalAveragePooling2D(keepdims=draw(st.booleans()))(x)
    if len(g.shape) == 2:
        g = L.Reshape((1, 1, x.shape[-1]))(g)
    g = L.Conv2D(4, 1, activation="relu")(g)
    return L.Multiply()([x, L.Conv2D(x.shape[-1], 1, activation="sigmoid")(g)])


def _shuffle(draw: Draw, x: Any) -> Any:
    _, high, wide, channels = x.shape
    parts = 2 if _even(x) else 1
    y = L.Reshape((high, wide, parts, channels // parts))(x)
    return L.Reshape((high, wide, channels))(L.Permute((1, 2, 4, 3))(y))


def _pool(draw: Draw, x: Any) -> Any:
    layer = _one_of(draw, L.MaxPooling2D, L.AveragePooling2D, L.UpSampling2D)
    return layer(2)(x) if x.shape[1] in (2, 4) or layer is not L.UpSampling2D else x


def _skip(draw: Draw, x: Any) -> Any:
    """Down and up again, beside a way past both, as in a U-Net."""
    if x.shape[1] % 2 or x.shape[2] % 2:
        return x
    y = L.Conv2D(_width(draw), 3, padding="same", activation="relu")(L.MaxPooling2D()(x))
    ups = [lambda: L.UpSampling2D(), lambda: L.Conv2DTranspose(_width(draw), 2, strides=2)]
    return L.Concatenate()([x, draw(st.sampled_from(ups))()(y)])


def _places(draw: Draw, x: Any) -> Any:
    x = L.Cropping2D(1)(L.ZeroPadding2D(2)(x))
    if draw(st.booleans()):
        x = ops.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    return ops.transpose(ops.flip(ops.transpose(x, (0, 3, 1, 2)), axis=3), (0, 2, 3, 1))


def _blocks(draw: Draw, x: Any) -> Any:
    y = ops.nn.depth_to_space(L.Conv2D(4 * 3, 1)(x), 2)
    return ops.nn.space_to_depth(L.Conv2D(_width(draw), 3, padding="same")(y), 2)


def _rows(draw: Draw, x: Any) -> Any:
    """An image's places become a sequence."""
    return L.Reshape((-1, x.shape[-1]))(x)


IMAGE: list[Step] = [
    *(_conv, _depthwise, _transposed, _first, _excite, _shuffle, _pool, _skip, _places, _blocks),
    _rows,
]


# Sequences.


def _conv_1d(draw: Draw, x: Any) -> Any:
    kinds = [
        lambda: L.Conv1D(_width(draw), 3, padding="causal", dilation_rate=2),
        lambda: L.Conv1D(_width(draw), 3, padding="same", groups=2 if _even(x) else 1),
        lambda: L.SeparableConv1D(_width(draw), 3, padding="same", depth_multiplier=2),
        lambda: L.DepthwiseConv1D(3, padding="same", depth_multiplier=2),
        lambda: L.Conv1DTranspose(_width(draw), 2),
        lambda: L.MaxPooling1D(2, padding="same"),
    ]
    return draw(st.sampled_from(kinds))()(x)


def _recurrent(draw: Draw, x: Any) -> Any:
    kind = _one_of(draw, L.LSTM, L.GRU, L.SimpleRNN)
    layer = kind(_one_of(draw, 4, 6), return_sequences=draw(st.booleans()))
    if draw(st.booleans()):
        return L.Bidirectional(layer, merge_mode=_one_of(draw, "concat", "sum", "mul", "ave"))(x)
    return layer(x)


def _attention(draw: Draw, x: Any) -> Any:
    if draw(st.booleans()):
        y = L.MultiHeadAttention(3, 4, value_dim=_one_of(draw, 4, 5))(x, L.Dense(5)(x))
    else:
        y = L.GroupQueryAttention(4, 4, 2)(x, x)
    return L.Add()([x, y]) if draw(st.booleans()) else y


def _timewise(draw: Draw, x: Any) -> Any:
    inner = _one_of(draw, L.Dense(5), L.BatchNormalization(), L.ReLU())
    return L.TimeDistributed(inner)(x)


def _mixed_tokens(draw: Draw, x: Any) -> Any:
    """What MLP-Mixer does: a perceptron over the places of each channel."""
    y = L.Dense(7, activation="relu")(L.Permute((2, 1))(x))
    y = L.Permute((2, 1))(L.Dense(x.shape[1])(y))
    return L.Add()([x, y]) if draw(st.booleans()) else y


SEQUENCE: list[Step] = [_conv_1d, _recurrent, _attention, _timewise, _mixed_tokens]


# Volumes, and images over time.


def _conv_3d(draw: Draw, x: Any) -> Any:
    kinds = [
        lambda: L.Conv3D(_width(draw), 3, padding="same"),
        lambda: L.Conv3D(_width(draw), 2, padding="same", groups=2 if _even(x) else 1),
        lambda: L.Conv3DTranspose(_width(draw), 2, padding="same"),
        lambda: L.AveragePooling3D(2, padding="same"),
        lambda: L.TimeDistributed(L.Conv2D(_width(draw), 3, padding="same")),
        lambda: L.TimeDistributed(L.MaxPooling2D(2, padding="same")),
    ]
    return draw(st.sampled_from(kinds))()(x)


def _over_time(draw: Draw, x: Any) -> Any:
    """A film becomes an image, or another film."""
    if draw(st.booleans()):
        return ops.mean(x, axis=1)
    again = draw(st.booleans())
    return L.ConvLSTM2D(_one_of(draw, 4, 6), 3, padding="same", return_sequences=again)(x)


VOLUME: list[Step] = [_conv_3d, _over_time]


# Vectors.


def _repeated(draw: Draw, x: Any) -> Any:
    return L.RepeatVector(3)(x)


STEPS: dict[int, list[Step]] = {
    2: [_act, _residual, _shared, _joined, _sliced, _repeated],
    3: [*SEQUENCE, *ANY],
    4: [*IMAGE, *ANY],
    5: [*VOLUME, *ANY],
}


def _start(draw: Draw) -> tuple[Any, Any]:
    """An input, and a first layer that makes channels of it."""
    kind = _one_of(draw, "image", "image", "sequence", "tokens", "film")
    if kind == "image":
        i = keras.Input((6, 6, 3))
        return i, L.Conv2D(_width(draw), 3, padding="same")(i)
    if kind == "sequence":
        i = keras.Input((6, 4))
        return i, L.Conv1D(_width(draw), 3, padding="same")(i)
    if kind == "tokens":
        i = keras.Input((6,), dtype="int32")
        return i, L.Embedding(5, _width(draw))(i)
    i = keras.Input((3, 4, 4, 2))
    return i, L.Conv3D(_width(draw), 2, padding="same")(i)


def _vector(draw: Draw, x: Any) -> Any:
    """A tensor of any rank as one vector."""
    if len(x.shape) == 2:
        return x
    pooled: dict[int, Any] = {
        3: L.GlobalAveragePooling1D,
        4: L.GlobalMaxPooling2D,
        5: L.GlobalAveragePooling3D,
    }
    return draw(st.sampled_from([L.Flatten, pooled[len(x.shape)]]))()(x)


@st.composite
def graphs(draw: Draw) -> keras.Model:
    """A model of one or two inputs and outputs, with two to seven steps between."""
    i, x = _start(draw)
    inputs = [i]
    for _ in range(draw(st.integers(2, 7))):
        if len(x.shape) == 4 and min(x.shape[1:3]) < 2:
            break
        x = draw(st.sampled_from(STEPS[len(x.shape)]))(draw, x)
    x = _vector(draw, x)
    if draw(st.booleans()):
        inputs.append(keras.Input((5,)))
        x = L.Concatenate()([x, L.Dense(6, activation="relu")(inputs[-1])])
    outputs = [L.Dense(3)(L.Dense(8, activation="relu")(x))]
    if draw(st.booleans()):
        outputs.append(L.Dense(2, activation="softmax")(x))
    return keras.Model(inputs, outputs)
