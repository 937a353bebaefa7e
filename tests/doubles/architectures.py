"""Small models that between them hold every kind of layer that has a rule."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

L = keras.layers
Build = Callable[[], keras.Model]


def _seq(shape: tuple[int, ...], *stack: keras.Layer) -> Build:
    def build() -> keras.Model:
        keras.utils.set_random_seed(0)
        return keras.Sequential(
            [keras.Input(shape), *(type(x).from_config(x.get_config()) for x in stack)]
        )

    return build


def _model(build: Callable[[], tuple[object, object]]) -> Build:
    def make() -> keras.Model:
        keras.utils.set_random_seed(0)
        return keras.Model(*build())

    return make


@_model
def attention() -> tuple[object, object]:
    i = keras.Input((6,), dtype="int32")
    x = L.Embedding(5, 8)(i)
    x = L.MultiHeadAttention(4, 6, value_dim=5)(x, x)
    x = L.Dense(7)(x)
    x = L.GroupQueryAttention(6, 4, 2)(x, x)
    return i, L.Dense(2)(L.GlobalAveragePooling1D()(x))


@_model
def dot_attention() -> tuple[object, object]:
    i = keras.Input((6, 4))
    x = L.Attention(use_scale=True)([L.Dense(6)(i), L.Dense(5)(i), L.Dense(6)(i)])
    x = L.AdditiveAttention()([L.Dense(5)(i), x, L.Dense(5)(i)])
    return i, L.Dense(3)(x)


@_model
def einsum() -> tuple[object, object]:
    i = keras.Input((6, 5))
    x = L.EinsumDense("abc,cde->abde", (6, 4, 3), bias_axes="de")(i)
    x = L.EinsumDense("abde,def->abf", (6, 7), bias_axes="f")(x)
    return i, L.Dense(3)(L.EinsumDense("...x,xy->...y", (8,))(x))


@_model
def shuffle() -> tuple[object, object]:
    i = keras.Input((8, 8, 3))
    x = L.Reshape((6, 6, 3, 4))(L.Conv2D(12, 3)(i))
    x = L.Reshape((6, 6, 12))(L.Permute((1, 2, 4, 3))(x))
    x = L.Conv2D(5, 3)(x)
    return i, L.Dense(2)(L.GlobalAveragePooling2D()(x))


@_model
def operations() -> tuple[object, object]:
    i = keras.Input((8, 8, 3))
    both = ops.concatenate([L.Conv2D(12, 3)(i), L.Conv2D(8, 3)(i)], -1)
    c, d = ops.split(both, [8], axis=-1)
    e = ops.relu(c[..., 2:6])
    f = ops.transpose(ops.transpose(d, (0, 3, 1, 2)), (0, 2, 3, 1))
    tiled = [e, f * 2.0, ops.tile(c, (1, 1, 1, 2)), ops.repeat(c, 2, axis=3)]
    x = L.Conv2D(4, 1)(ops.concatenate(tiled, -1))
    x = ops.reshape(ops.stack(ops.split(x, 2, axis=-1), axis=-2), (-1, 6, 6, 4))
    x = ops.nn.depth_to_space(L.Conv2D(8, 1)(x), 2)
    x = ops.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    x = ops.nn.space_to_depth(L.Conv2D(3, 3)(x), 2)
    return i, L.Dense(2)(ops.mean(x, axis=(1, 2)))


@_model
def gates_and_nesting() -> tuple[object, object]:
    stack = [keras.Input((6, 6, 8)), L.Conv2D(8, 3, padding="same"), L.BatchNormalization()]
    twice = keras.Sequential([*stack, L.ReLU()], name="twice")
    y = keras.Input((6, 6, 8))
    z = L.Conv2D(8, 1)(L.Conv2D(4, 1)(y))
    pair = keras.Model(y, [z, L.Add()([y, z])], name="pair")
    i = keras.Input((8, 8, 3))
    x = twice(twice(L.Conv2D(8, 3)(i)))
    g = L.Conv2D(4, 1, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Multiply()([x, L.Conv2D(8, 1, activation="sigmoid")(g)])
    p, q = pair(x)
    q = L.Multiply()([q, L.Conv2D(1, 1, activation="sigmoid")(q)])
    one = L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(p))
    return i, [one, L.Dense(3)(L.Flatten()(q))]


@_model
def mixer() -> tuple[object, object]:
    i = keras.Input((6, 4))
    x = L.Permute((2, 1))(L.Dense(5)(i))
    x = L.Dense(6)(L.Dense(7, activation="relu")(x))
    return i, L.Dense(2)(L.Permute((2, 1))(x))


@_model
def mlp_mixer() -> tuple[object, object]:
    i = keras.Input((8, 8, 3))
    x = L.Reshape((16, 10))(L.Conv2D(10, 2, strides=2, name="patches")(i))
    for _ in range(2):
        y = L.Permute((2, 1))(L.LayerNormalization()(x))
        y = L.Dense(16)(L.Dense(24, activation="gelu")(y))
        x = L.Add()([x, L.Permute((2, 1))(y)])
        y = L.Dense(10)(L.Dense(32, activation="gelu")(L.LayerNormalization()(x)))
        x = L.Add()([x, y])
    return i, L.Dense(3)(L.GlobalAveragePooling1D()(x))


@_model
def side_by_side() -> tuple[object, object]:
    i = keras.Input((9, 4))
    # More places than channels, and as many halves as they are wide: what is longer isn't channels.
    x = L.Concatenate(axis=1)([L.Dense(6)(i), L.Conv1D(6, 3)(i)])
    halves = ops.split(L.Dense(4)(x), 2, axis=-1)
    x = ops.reshape(ops.stack(halves, axis=-1), (-1, 16, 4))
    return i, L.Dense(2)(L.GlobalAveragePooling1D()(x))


@_model
def masked_lstm() -> tuple[object, object]:
    i = keras.Input((6, 4))
    x = L.LSTM(5, return_sequences=True)(L.Masking()(i))
    return i, L.Dense(3)(L.LSTM(4)(x))


@_model
def states() -> tuple[object, object]:
    i = keras.Input((6, 4))
    s, h, c = L.LSTM(5, return_state=True, return_sequences=True)(i)
    return i, L.Dense(3)(L.LSTM(5)(s, initial_state=[h, c]))


@_model
def unet() -> tuple[object, object]:
    i = keras.Input((8, 8, 2))
    a = L.Conv2D(6, 3, padding="same", activation="relu")(i)
    b = L.Conv2D(8, 3, padding="same", activation="relu")(L.MaxPooling2D()(a))
    x = L.Concatenate()([L.Conv2DTranspose(6, 2, strides=2)(b), a])
    return i, L.Conv2D(1, 1)(L.Conv2D(5, 3, padding="same", activation="relu")(x))


@_model
def two_inputs() -> tuple[object, object]:
    i, j = keras.Input((5,), name="left"), keras.Input((7,), name="right")
    dense = L.Dense(6, name="shared")
    x = L.Subtract()([dense(L.Dense(4)(i)), dense(L.Dense(4)(j))])
    return [i, j], L.Dense(2)(L.Maximum()([x, L.Dense(6)(i)]))


MODELS: dict[str, Build] = {
    "dense": _seq((13,), L.Dense(11, activation="relu"), L.Dense(8), L.Dense(3)),
    "reshape": _seq((12,), L.Dense(12), L.Reshape((4, 3)), L.Conv1D(6, 2), L.Flatten(), L.Dense(3)),
    "grouped": _seq(
        (8, 8, 3),
        L.Conv2D(12, 3),
        L.Conv2D(12, 3, groups=3),
        L.Conv2D(24, 1, groups=12),
        L.Conv2D(8, 1, groups=2),
        L.GlobalMaxPooling2D(),
        L.Dense(3),
    ),
    "depthwise": _seq(
        (8, 8, 1),
        L.DepthwiseConv2D(3, depth_multiplier=6),
        L.DepthwiseConv2D(3, depth_multiplier=2),
        L.SeparableConv2D(8, 3, depth_multiplier=2),
        L.PReLU(shared_axes=[1, 2]),
        L.Conv2DTranspose(6, 3),
        L.Flatten(),
        L.BatchNormalization(),
        L.Dense(3),
    ),
    "separable1d": _seq(
        (12, 4),
        L.Conv1D(6, 3, padding="causal", dilation_rate=2),
        L.SeparableConv1D(8, 3),
        L.DepthwiseConv1D(3),
        L.Conv1DTranspose(5, 2),
        L.GlobalMaxPooling1D(),
        L.Dense(2),
    ),
    "places": _seq(
        (8, 8, 1),
        L.Conv2D(6, 3),
        L.PReLU(),
        L.LayerNormalization(axis=[1, 2]),
        L.ZeroPadding2D(1),
        L.Cropping2D(1),
        L.UpSampling2D(),
        L.Permute((3, 1, 2)),
        L.Flatten(),
        L.Dense(3),
    ),
    "volumes": _seq(
        (4, 4, 4, 2),
        L.Conv3D(6, 2),
        L.Conv3DTranspose(4, 2),
        L.GlobalAveragePooling3D(),
        L.Dense(2),
    ),
    "recurrent": _seq(
        (6, 5),
        L.LSTM(8, return_sequences=True),
        L.GRU(8, return_sequences=True),
        L.SimpleRNN(6),
        L.Dense(2),
    ),
    "bidirectional": _seq(
        (6, 5),
        L.Bidirectional(L.LSTM(8, return_sequences=True)),
        L.Bidirectional(L.GRU(6, reset_after=False), merge_mode="sum"),
        L.RepeatVector(3),
        L.TimeDistributed(L.Dense(7)),
        L.TimeDistributed(L.BatchNormalization()),
        L.Flatten(),
        L.Dense(2),
    ),
    "conv_lstm": _seq(
        (3, 8, 8, 2),
        L.ConvLSTM2D(6, 3, return_sequences=True),
        L.ConvLSTM2D(4, 3),
        L.Flatten(),
        L.Dense(2),
    ),
    "instance_norm": _seq(
        (8, 8, 3), L.Conv2D(6, 3), L.GroupNormalization(-1), L.Flatten(), L.Dense(2)
    ),
    "attention": attention,
    "dot_attention": dot_attention,
    "einsum": einsum,
    "shuffle": shuffle,
    "operations": operations,
    "gates_and_nesting": gates_and_nesting,
    "mixer": mixer,
    "mlp_mixer": mlp_mixer,
    "side_by_side": side_by_side,
    "masked_lstm": masked_lstm,
    "states": states,
    "unet": unet,
    "two_inputs": two_inputs,
}
