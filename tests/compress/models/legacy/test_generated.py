"""Models made with tf_keras come back equal in Keras 3, whatever the file format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepress.compress.models.legacy import carry

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

L = tf_keras.layers
TOLERANCE = 1e-5
QUICK = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
THOROUGH = settings(QUICK, max_examples=120, derandomize=False)

# Each entry takes a tf_keras tensor and gives another of the same kind of data.
IMAGE: dict[str, Callable[[Any], Any]] = {
    "conv": lambda x: L.Conv2D(4, 3, padding="same", activation="relu")(x),
    "conv_strided": lambda x: L.Conv2D(3, 3, strides=2, padding="same")(x),
    "conv_dilated": lambda x: L.Conv2D(3, 2, dilation_rate=2, padding="same")(x),
    "depthwise": lambda x: L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x),
    "separable": lambda x: L.SeparableConv2D(4, 3, padding="same", activation="swish")(x),
    "transpose": lambda x: L.Conv2DTranspose(2, 3, strides=2, padding="same")(x),
    "norm": lambda x: L.BatchNormalization()(x),
    "layer_norm": lambda x: L.LayerNormalization()(x),
    "group_norm": lambda x: L.GroupNormalization(1)(x),
    "pool": lambda x: L.MaxPooling2D(2, padding="same")(x),
    "average": lambda x: L.AveragePooling2D(2, strides=1, padding="same")(x),
    "up": lambda x: L.UpSampling2D(2, interpolation="bilinear")(x),
    "up_nearest": lambda x: L.UpSampling2D(2)(x),
    "zero": lambda x: L.ZeroPadding2D(((1, 0), (0, 1)))(x),
    "leaky": lambda x: L.LeakyReLU(0.2)(x),
    "elu": lambda x: L.ELU(0.7)(x),
    "prelu": lambda x: L.PReLU(shared_axes=[1, 2])(x),
    "thresholded": lambda x: L.ThresholdedReLU(0.1)(x),
    "relu6": lambda x: L.ReLU(6.0, negative_slope=0.1, threshold=0.05)(x),
    "softmax": lambda x: L.Softmax(axis=-1)(x),
    "hard_sigmoid": lambda x: L.Activation("hard_sigmoid")(x),
    "gelu": lambda x: L.Activation("gelu")(x),
    "dropout": lambda x: L.SpatialDropout2D(0.3)(x),
    "noise": lambda x: L.GaussianNoise(0.1)(x),
    "residual": lambda x: L.Add()([x, L.Conv2D(x.shape[-1], 1)(x)]),
    "product": lambda x: L.Multiply()([x, L.Dense(x.shape[-1], activation="sigmoid")(x)]),
    "join": lambda x: L.Concatenate()([x, L.Conv2D(2, 1)(x)]),
    "average_of": lambda x: L.Average()([x, L.Activation("tanh")(x)]),
    "difference": lambda x: L.Subtract()([x, L.Conv2D(x.shape[-1], 1)(x)]),
    "largest": lambda x: L.Maximum()([x, L.Conv2D(x.shape[-1], 1)(x)]),
    "rescale": lambda x: L.Rescaling(0.5, offset=-0.1)(x),
    "normalization": lambda x: L.Normalization(mean=[0.3], variance=[2.0])(x),
    "flip": lambda x: L.RandomFlip("horizontal")(x),
    "identity": lambda x: L.Activation("linear")(x),
    "tf_arithmetic": lambda x: tf.nn.relu(x * 2.0 - 0.5) / 3.0 + tf.sqrt(tf.abs(x) + 1.0),
    "tf_reversed": lambda x: 1.0 - x,
    "tf_slice": lambda x: x[:, :-1, 1:, ::-1],
    "tf_reduce": lambda x: x + tf.reduce_mean(x, axis=[1, 2], keepdims=True),
    "tf_concat": lambda x: tf.concat([x, tf.nn.sigmoid(x)], axis=-1),
    "tf_split": lambda x: tf.add_n(tf.split(tf.concat([x, x], -1), 2, axis=-1)),
    "tf_pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 1], [0, 0]]),
    "tf_resize": lambda x: tf.image.resize(x, [6, 5]),
    "tf_clip": lambda x: tf.clip_by_value(x, -0.5, 0.7),
    "tf_where": lambda x: tf.where(x > 0.1, x, tf.zeros_like(x)),
    "tf_l2": lambda x: tf.math.l2_normalize(x, axis=-1),
    "shared": lambda x: _shared(x),
    "nested": lambda x: _nested(x)(x),
    "nested_functional": lambda x: _nested_functional(x)(x),
}
SEQUENCE: dict[str, Callable[[Any], Any]] = {
    "lstm": lambda x: L.LSTM(3, return_sequences=True)(x),
    "lstm_hard": lambda x: L.LSTM(2, return_sequences=True, recurrent_activation="hard_sigmoid")(x),
    "lstm_plain": lambda x: L.LSTM(3, return_sequences=True, use_bias=False, go_backwards=True)(x),
    "gru": lambda x: L.GRU(3, return_sequences=True)(x),
    "gru_before": lambda x: L.GRU(3, return_sequences=True, reset_after=False)(x),
    "rnn": lambda x: L.SimpleRNN(4, return_sequences=True)(x),
    "bidirectional": lambda x: L.Bidirectional(L.LSTM(2, return_sequences=True))(x),
    "bidirectional_sum": lambda x: L.Bidirectional(
        L.GRU(2, return_sequences=True), merge_mode="sum"
    )(x),
    "cells": lambda x: L.RNN([L.LSTMCell(2), L.GRUCell(3)], return_sequences=True)(x),
    "cell": lambda x: L.RNN(L.SimpleRNNCell(3), return_sequences=True)(x),
    "states": lambda x: _states(x),
    "conv": lambda x: L.Conv1D(4, 3, padding="causal", activation="relu")(x),
    "conv_dilated": lambda x: L.Conv1D(4, 2, padding="same", dilation_rate=2)(x),
    "separable": lambda x: L.SeparableConv1D(3, 3, padding="same")(x),
    "depthwise": lambda x: L.DepthwiseConv1D(3, padding="same")(x),
    "transpose": lambda x: L.Conv1DTranspose(3, 2, strides=2)(x),
    "local": lambda x: L.LocallyConnected1D(3, 2)(x),
    "local_dense": lambda x: L.LocallyConnected1D(2, 2, implementation=2)(x),
    "pool": lambda x: L.MaxPooling1D(2, padding="same")(x),
    "norm": lambda x: L.BatchNormalization()(x),
    "layer_norm": lambda x: L.LayerNormalization()(x),
    "distributed": lambda x: L.TimeDistributed(L.Dense(3, activation="tanh"))(x),
    "distributed_model": lambda x: L.TimeDistributed(_dense_model(x.shape[-1]))(x),
    "attention": lambda x: L.MultiHeadAttention(2, 3)(x, x),
    "attention_key": lambda x: L.MultiHeadAttention(2, 2, value_dim=3)(x, x, key=x),
    "dot_attention": lambda x: L.Attention(use_scale=True)([x, L.Dense(x.shape[-1])(x)]),
    "additive": lambda x: L.AdditiveAttention()([x, L.Dense(x.shape[-1])(x)]),
    "einsum": lambda x: L.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")(x),
    "permute": lambda x: L.Permute((2, 1))(x),
    "crop": lambda x: L.Cropping1D((0, 1))(L.ZeroPadding1D(1)(x)),
    "up": lambda x: L.UpSampling1D(2)(x),
    "dot": lambda x: L.Dot(axes=(2, 2), normalize=True)([x, L.Dense(x.shape[-1])(x)]),
    "dropout": lambda x: L.SpatialDropout1D(0.2)(x),
    "mask": lambda x: L.LSTM(3, return_sequences=True)(L.Masking(0.0)(x)),
    "tf_transpose": lambda x: tf.transpose(x, [0, 2, 1]),
    "tf_matmul": lambda x: tf.matmul(x, tf.transpose(x, [0, 2, 1])),
    "tf_stack": lambda x: tf.reduce_max(tf.stack([x, -x], axis=1), axis=1),
    "tf_expand": lambda x: tf.squeeze(tf.expand_dims(x, 1), axis=[1]),
    "tf_tile": lambda x: tf.tile(x, [1, 1, 2]),
    "tf_softmax": lambda x: tf.nn.softmax(x, axis=1),
    "tf_cumsum": lambda x: tf.cumsum(x, axis=1),
    "tf_unstack": lambda x: tf.stack(tf.unstack(x, axis=1)[::-1], axis=1),
}


def _shared(x: Any) -> Any:
    layer = L.Conv2D(x.shape[-1], 1, activation="tanh")
    return L.Add()([layer(x), layer(layer(x))])


def _nested(x: Any) -> Any:
    return tf_keras.Sequential(
        [
            L.Conv2D(3, 1, input_shape=x.shape[1:]),
            L.BatchNormalization(),
            L.Conv2D(2, 1, trainable=False),
        ]
    )


def _nested_functional(x: Any) -> Any:
    inner = tf_keras.Input(x.shape[1:])
    y = L.BatchNormalization()(inner)
    y = L.Add()([L.Conv2D(2, 1)(y), L.DepthwiseConv2D(1)(L.Conv2D(2, 1)(y))])
    return tf_keras.Model(inner, y)


def _dense_model(size: int) -> Any:
    return tf_keras.Sequential([L.Dense(3, input_shape=(size,)), L.BatchNormalization()])


def _states(x: Any) -> Any:
    y, h, c = L.LSTM(3, return_sequences=True, return_state=True)(x)
    return L.LSTM(3, return_sequences=True)(y, initial_state=[h, c])


def _randomize(model: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = []
    for value in model.get_weights():
        noise = random.uniform(0.05, 0.4, value.shape) * random.choice([-1, 1], value.shape)
        values.append(noise.astype(value.dtype) if value.dtype.kind == "f" else value)
    model.set_weights(values)
    for layer in model.submodules:
        variance = getattr(layer, "moving_variance", None)
        if variance is not None:
            variance.assign(np.abs(variance.numpy()) + 0.1)


def _model(kind: str, steps: list[str], head: str, seed: int) -> Any:
    tf_keras.backend.clear_session()
    table = IMAGE if kind == "image" else SEQUENCE
    first = tf_keras.Input((7, 6, 3) if kind == "image" else (6, 4))
    x = first
    for step in steps:
        x = table[step](x)
    if head == "flat":
        x = L.Dense(3, activation="softmax")(L.Flatten()(x))
    elif head == "global":
        pool = L.GlobalAveragePooling2D if kind == "image" else L.GlobalMaxPooling1D
        x = L.Dense(2)(pool()(x))
    model = tf_keras.Model(first, [x, L.Activation("tanh")(x)] if head == "two" else x)
    _randomize(model, seed)
    return model


def _save(model: Any, folder: Path, form: str) -> Path:
    path = folder / {"h5": "model.h5", "keras": "model.keras", "saved_model": "model"}[form]
    model.save(path, save_format="tf" if form == "saved_model" else None)
    return path


def _check(model: Any, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _save(model, Path(folder), form)
        carried = carry(path).model
    for seed in range(2):
        _compare(model, carried, seed, training=False)
    if not any(_trains_otherwise(layer) for layer in model.submodules):
        _compare(model, carried, 2, training=True)
    if not any(getattr(layer, "implementation", 1) == 2 for layer in _local(model)):
        assert carried.count_params() == model.count_params()


def _compare(model: Any, carried: Any, seed: int, training: bool) -> None:
    shape = (3, *model.inputs[0].shape[1:])
    x = np.random.default_rng(seed).uniform(-1, 1.5, shape).astype("float32")
    wanted = tf.nest.flatten(model(x, training=training))
    found = tf.nest.flatten(carried(x, training=training))
    assert len(wanted) == len(found)
    # Statistics of one batch magnify rounding where all of it is nearly the same.
    tolerance = TOLERANCE * (10 if training else 1)
    for a, b in zip(wanted, found, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= tolerance * max(np.abs(a).max(), 1e-6)


def _trains_otherwise(layer: Any) -> bool:
    """By chance, or because Keras 3 normalises each time step by its own statistics."""
    kinds = L.SpatialDropout1D, L.SpatialDropout2D, L.GaussianNoise, L.RandomFlip
    return isinstance(layer, (*kinds, L.TimeDistributed))


def _local(model: Any) -> list[Any]:
    """Layers whose dense form holds zeros that the carried form leaves out."""
    return [layer for layer in model.layers if isinstance(layer, L.LocallyConnected1D)]


def _steps(kind: str) -> st.SearchStrategy[list[str]]:
    table = IMAGE if kind == "image" else SEQUENCE
    return st.lists(st.sampled_from(sorted(table)), min_size=1, max_size=4)


EVERY = [*(("image", s) for s in IMAGE), *(("sequence", s) for s in SEQUENCE)]
HEADS = st.sampled_from(["none", "flat", "global", "two"])


@pytest.mark.parametrize(
    ("kind", "step"), [("image", s) for s in IMAGE] + [("sequence", s) for s in SEQUENCE]
)
def test_each_layer_alone(kind: str, step: str) -> None:
    _check(_model(kind, [step], "none", 1), "h5")


@QUICK
@given(st.data(), st.sampled_from(["image", "sequence"]), HEADS, st.integers(0, 99))
def test_random_graphs_in_hdf5(data: Any, kind: str, head: str, seed: int) -> None:
    _check(_model(kind, data.draw(_steps(kind)), head, seed), "h5")


@QUICK
@given(st.data(), st.sampled_from(["image", "sequence"]), HEADS, st.integers(0, 99))
def test_random_graphs_in_archives(data: Any, kind: str, head: str, seed: int) -> None:
    _check(_model(kind, data.draw(_steps(kind)), head, seed), "keras")


@settings(QUICK, max_examples=3)
@given(st.data(), st.sampled_from(["image", "sequence"]), HEADS, st.integers(0, 99))
def test_random_graphs_in_saved_models(data: Any, kind: str, head: str, seed: int) -> None:
    _check(_model(kind, data.draw(_steps(kind)), head, seed), "saved_model")


@pytest.mark.slow
@THOROUGH
@given(
    st.data(),
    st.sampled_from(["image", "sequence"]),
    HEADS,
    st.sampled_from(["h5", "keras", "saved_model"]),
    st.integers(0, 999),
)
def test_many_random_graphs(data: Any, kind: str, head: str, form: str, seed: int) -> None:
    _check(_model(kind, data.draw(_steps(kind)), head, seed), form)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["keras", "saved_model"])
@pytest.mark.parametrize(
    ("kind", "step"), [("image", s) for s in IMAGE] + [("sequence", s) for s in SEQUENCE]
)
def test_each_layer_alone_in_other_formats(kind: str, step: str, form: str) -> None:
    _check(_model(kind, [step], "none", 1), form)
