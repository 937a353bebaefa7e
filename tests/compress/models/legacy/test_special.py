"""Layers, settings and graphs that are rare, each in a model of its own, come back equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from old_keras import outputs_of

from edgepress.compress.models import load
from edgepress.compress.models.legacy import carry

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

L = tf_keras.layers
I = tf_keras.Input  # noqa: E741
M = tf_keras.Model


def seq(*layers: Any) -> Any:
    return tf_keras.Sequential(list(layers))


def fun(shape: tuple[int, ...], call: Callable[[Any], Any]) -> Any:
    inputs = I(shape)
    return M(inputs, call(inputs))


def _frozen_first() -> Any:
    model = seq(L.Dense(3, input_shape=(4,)), L.BatchNormalization(), L.Dense(2))
    model.layers[0].trainable = False
    return model


def _frozen_inside() -> Any:
    inner = seq(L.Dense(3, input_shape=(4,)), L.BatchNormalization(), L.Dense(2))
    inner.trainable = False
    return fun((4,), lambda x: L.Dense(2)(inner(x)))


def _half_frozen_inside() -> Any:
    inner = seq(L.Dense(3, input_shape=(4,)), L.Dense(3), L.BatchNormalization(), L.Dense(3))
    inner.layers[1].trainable = False
    return fun((4,), lambda x: L.Dense(2)(inner(x)))


def _shared_model() -> Any:
    inner = seq(L.Dense(3, input_shape=(4,)), L.BatchNormalization())
    return fun((4,), lambda x: L.Add()([inner(x), inner(L.Dense(4)(x))]))


def _deferred() -> Any:
    inner = seq(L.Dense(3), L.BatchNormalization())
    return fun((4,), inner)


def _two_inputs() -> Any:
    a, b = I((4,), name="a/b"), I((5,), name="c")
    return M([a, b], L.Add()([L.Dense(3)(a), L.Dense(3)(b)]))


def _dictionaries() -> Any:
    a, b = I((4,), name="a"), I((5,), name="b")
    return M({"a": a, "b": b}, {"s": L.Add()([L.Dense(3)(a), L.Dense(3)(b)]), "t": L.Dense(1)(a)})


def _given_states() -> Any:
    x, h, c = I((5, 2)), I((3,)), I((3,))
    return M([x, h, c], L.LSTM(3)(x, initial_state=[h, c]))


def _states_of_both() -> Any:
    x = I((5, 2))
    states = L.Bidirectional(L.LSTM(3, return_state=True))(x)[1:]
    return M(x, L.Bidirectional(L.LSTM(3))(L.Dense(2)(x), initial_state=states))


def _mixed_precision() -> Any:
    policy = tf_keras.mixed_precision.Policy("mixed_float16")
    return seq(L.Dense(3, input_shape=(4,), dtype=policy), L.Dense(2, dtype="float32"))


ACTIVATIONS = (
    *("elu", "selu", "softplus", "softsign", "relu6", "tanh", "exponential", "swish", "gelu"),
    *("mish", "log_softmax", "softmax", "hard_sigmoid"),
)
CASES: dict[str, Callable[[], Any]] = {
    "3d": lambda: seq(
        L.Conv3D(2, 2, input_shape=(5, 5, 5, 2)),
        L.Conv3DTranspose(2, 2, strides=2),
        L.MaxPooling3D(2),
        L.ZeroPadding3D(1),
        L.UpSampling3D(2),
        L.Cropping3D(1),
        L.GlobalAveragePooling3D(),
    ),
    "conv_lstm": lambda: seq(
        L.ConvLSTM2D(3, 2, input_shape=(4, 6, 6, 2), return_sequences=True, padding="same"),
        L.ConvLSTM2D(2, 3, strides=2, go_backwards=True),
    ),
    "conv_lstm_1d": lambda: seq(
        L.ConvLSTM1D(3, 2, input_shape=(4, 6, 2), recurrent_activation="hard_sigmoid")
    ),
    "local": lambda: seq(L.LocallyConnected2D(3, (2, 3), strides=(1, 2), input_shape=(5, 6, 2))),
    "local_dense": lambda: seq(
        L.LocallyConnected2D(3, (2, 3), strides=(1, 2), input_shape=(5, 6, 2), implementation=2)
    ),
    "local_sparse": lambda: seq(
        L.LocallyConnected2D(3, (2, 3), strides=(1, 2), input_shape=(5, 6, 2), implementation=3)
    ),
    "local_first": lambda: seq(
        L.LocallyConnected2D(3, (2, 3), input_shape=(2, 5, 6), data_format="channels_first")
    ),
    "dropouts": lambda: seq(
        L.AlphaDropout(0.2, input_shape=(4,)),
        L.GaussianDropout(0.2),
        L.ActivityRegularization(0.1),
        L.UnitNormalization(),
        L.Dense(3),
    ),
    "resizing": lambda: seq(
        L.Resizing(5, 7, input_shape=(8, 8, 3)), L.CenterCrop(4, 4), L.Rescaling(1 / 255)
    ),
    "resizing_cropped": lambda: seq(
        L.Resizing(5, 7, crop_to_aspect_ratio=True, input_shape=(8, 8, 3))
    ),
    "augmentation": lambda: seq(
        L.RandomFlip(input_shape=(8, 8, 3)),
        L.RandomRotation(0.1),
        L.RandomZoom(0.1),
        L.RandomContrast(0.1),
        L.RandomTranslation(0.1, 0.1),
        L.RandomCrop(6, 6),
        L.RandomBrightness(0.1),
        L.Conv2D(2, 2),
    ),
    "random_sizes": lambda: seq(
        L.RandomHeight(0.1, input_shape=(8, 8, 3)),
        L.RandomWidth(0.1),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    ),
    "embedding_masked": lambda: seq(
        L.Embedding(3, 4, mask_zero=True, input_length=6),
        L.LSTM(3, return_sequences=True),
        L.Bidirectional(L.GRU(2)),
    ),
    "embedding_backwards": lambda: seq(
        L.Embedding(3, 4, mask_zero=True, input_length=6),
        L.SimpleRNN(3, return_sequences=True, go_backwards=True),
        L.TimeDistributed(L.Dense(2)),
    ),
    "repeat": lambda: seq(L.Dense(3, input_shape=(4,)), L.RepeatVector(5), L.LSTM(2)),
    "category": lambda: seq(
        I((3,), dtype="int32"), L.CategoryEncoding(4, output_mode="multi_hot"), L.Dense(2)
    ),
    "discretization": lambda: seq(I((3,)), L.Discretization([0.2, 0.5, 0.8])),
    "norm_first_axis": lambda: seq(
        L.BatchNormalization(axis=1, input_shape=(3, 4, 5)),
        L.LayerNormalization(axis=[1, 2]),
        L.PReLU(),
    ),
    "renorm": lambda: seq(I((4,)), L.BatchNormalization(renorm=True), L.Dense(2)),
    "norm_halves": lambda: seq(
        I((4, 4, 3)), L.BatchNormalization(scale=False), L.BatchNormalization(center=False)
    ),
    "frozen_first": _frozen_first,
    "frozen_inside": _frozen_inside,
    "half_frozen_inside": _half_frozen_inside,
    "backward_layer": lambda: seq(
        L.Bidirectional(
            L.LSTM(3, return_sequences=True),
            backward_layer=L.GRU(2, go_backwards=True, return_sequences=True),
            input_shape=(5, 2),
        )
    ),
    "bidirectional_unmerged": lambda: fun(
        (5, 2), lambda x: L.Bidirectional(L.LSTM(3), merge_mode=None)(x)
    ),
    "states_of_both": _states_of_both,
    "given_states": _given_states,
    "two_inputs": _two_inputs,
    "dictionaries": _dictionaries,
    "nested_twice": lambda: seq(
        seq(L.Dense(3, input_shape=(4,)), seq(L.Dense(5), L.BatchNormalization())), L.Dense(2)
    ),
    "shared_model": _shared_model,
    "deferred": _deferred,
    "layer_as_activation": lambda: seq(L.Dense(3, activation=L.LeakyReLU(0.1), input_shape=(4,))),
    "regularized": lambda: seq(
        L.Dense(
            3,
            kernel_regularizer="l1_l2",
            kernel_constraint="max_norm",
            activity_regularizer="l2",
            kernel_initializer=tf_keras.initializers.VarianceScaling(
                distribution="untruncated_normal"
            ),
            input_shape=(4,),
        )
    ),
    "activations": lambda: seq(
        L.Dense(3, input_shape=(4,)), *[L.Activation(name) for name in ACTIVATIONS]
    ),
    "mixed_precision": _mixed_precision,
    "lstm_dropout": lambda: seq(
        L.LSTM(
            3,
            dropout=0.2,
            recurrent_dropout=0.3,
            unroll=True,
            implementation=1,
            input_shape=(5, 2),
        )
    ),
    "distributed": lambda: seq(
        L.TimeDistributed(L.Conv2D(2, 2), input_shape=(3, 5, 5, 2)),
        L.TimeDistributed(L.BatchNormalization()),
        L.TimeDistributed(L.Flatten()),
        L.LSTM(2),
    ),
    "distributed_both": lambda: seq(
        L.TimeDistributed(L.Bidirectional(L.LSTM(2)), input_shape=(3, 5, 2))
    ),
    "transposed": lambda: seq(
        L.Conv2DTranspose(2, 3, strides=2, output_padding=1, input_shape=(5, 5, 2)),
        L.Conv2DTranspose(2, 4, strides=(2, 3), padding="same"),
        L.Conv2DTranspose(2, 3, strides=2, output_padding=1, padding="same"),
    ),
    "transposed_1d": lambda: seq(
        L.Conv1DTranspose(2, 3, strides=2, output_padding=1, input_shape=(5, 2))
    ),
    "groups": lambda: seq(L.Conv2D(4, 3, groups=2, input_shape=(5, 5, 2))),
    "channels_first": lambda: seq(
        L.Conv2D(3, 3, input_shape=(2, 8, 8), data_format="channels_first"),
        L.MaxPooling2D(2, data_format="channels_first"),
        L.BatchNormalization(axis=1),
        L.Flatten(data_format="channels_first"),
        L.Dense(2),
    ),
    "up_bilinear_first": lambda: seq(
        L.Conv2D(3, 3, input_shape=(2, 6, 7), data_format="channels_first"),
        L.UpSampling2D((3, 2), interpolation="bilinear", data_format="channels_first"),
    ),
    "kept_dimensions": lambda: seq(
        L.GlobalAveragePooling2D(keepdims=True, input_shape=(5, 5, 2)), L.Conv2D(2, 1)
    ),
    "attention_axes": lambda: fun(
        (3, 4, 5), lambda x: L.MultiHeadAttention(2, 3, output_shape=4, attention_axes=(1, 2))(x, x)
    ),
    "attention_causal": lambda: fun(
        (5, 4), lambda x: L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    ),
    "attention_scores": lambda: fun(
        (5, 4), lambda x: L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)[1]
    ),
    "dot_attention_causal": lambda: fun(
        (5, 4), lambda x: L.Attention()([x, x], use_causal_mask=True)
    ),
    "inference_flag": lambda: fun((5,), lambda x: L.BatchNormalization()(x, training=False)),
    "tf_gather": lambda: fun(
        (4,), lambda x: tf.reshape(tf.gather(x, [0, 2], axis=1), [-1, 2]) ** 2 + [1.0, 2.0]
    ),
    "tf_backend": lambda: fun(
        (4,), lambda x: tf_keras.backend.mean(tf_keras.backend.clip(x, -1, 1), axis=1)
    ),
    "tf_shape": lambda: fun((4,), lambda x: tf.reshape(x, [tf.shape(x)[0], 2, 2])),
    "tf_moments": lambda: fun((4,), lambda x: tf.nn.moments(x, axes=[1])[0]),
    "tf_constant": lambda: fun((4,), lambda x: tf.matmul(x, np.ones((4, 2), "float32"))),
    "tf_argmax": lambda: fun((4,), lambda x: tf.argmax(x, axis=-1)),
    "tf_pools": lambda: fun(
        (6, 6, 3), lambda x: tf.nn.max_pool2d(tf.nn.avg_pool2d(x, 2, 1, "SAME"), 2, 2, "VALID")
    ),
    "tf_depth_to_space": lambda: fun((4, 4, 8), lambda x: tf.nn.depth_to_space(x, 2)),
    "tf_space_to_depth": lambda: fun((4, 4, 3), lambda x: tf.nn.space_to_depth(x, 2)),
    "tf_response": lambda: fun((4, 4, 3), tf.nn.local_response_normalization),
    "tf_logic": lambda: fun((4,), lambda x: tf.cast((x > 0.2) & ~(x > 0.9), "float32")),
    "tf_modulo": lambda: fun((4,), lambda x: x % 0.7 + x // 0.5 + 2.0**x),
}
ONLY_HDF5 = {
    "tf_newaxis": lambda: fun((4,), lambda x: x[:, tf.newaxis, ..., 0] + x[..., None][:, 1]),
}


def _save(model: Any, folder: Path, form: str) -> Path:
    path = folder / {"h5": "model.h5", "keras": "model.keras", "saved_model": "model"}[form]
    model.save(path, save_format="tf" if form == "saved_model" else None)
    return path


def _feed(model: Any, name: str) -> Any:
    random = np.random.default_rng(0)
    arrays = []
    for tensor in model.inputs:
        shape = (3, *tensor.shape[1:])
        whole = "embedding" in name or not tensor.dtype.is_floating
        values = random.integers(0, 3, shape) if whole else random.uniform(-1, 2, shape)
        arrays.append(values.astype(tensor.dtype.name))
    if name == "dictionaries":
        return dict(zip("ab", arrays, strict=True))
    return arrays[0] if len(arrays) == 1 else arrays


def _check(name: str, make: Callable[[], Any], folder: Path, form: str) -> None:
    tf_keras.backend.clear_session()
    model = make()
    if not model.built:
        model.build((None, 6))
    random = np.random.default_rng(1)
    model.set_weights(
        [
            random.uniform(0.1, 0.5, w.shape).astype(w.dtype) if w.dtype.kind == "f" else w
            for w in model.get_weights()
        ]
    )
    carried = load(_save(model, folder, form))
    x = _feed(model, name)
    wanted = outputs_of(model, x)
    found = tf.nest.flatten(carried(x, training=False))
    assert len(wanted) == len(found)
    for a, b in zip(wanted, found, strict=True):
        a, b = np.asarray(a).astype("float64"), np.asarray(b).astype("float64")
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * max(np.abs(a).max(), 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_hdf5(name: str, tmp_path: Path) -> None:
    _check(name, CASES[name], tmp_path, "h5")


@pytest.mark.parametrize("name", ONLY_HDF5)
def test_hdf5_only(name: str, tmp_path: Path) -> None:
    _check(name, ONLY_HDF5[name], tmp_path, "h5")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_other_formats(name: str, form: str, tmp_path: Path) -> None:
    _check(name, CASES[name], tmp_path, form)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV2",
        "MobileNetV3Small",
        "EfficientNetB0",
        "DenseNet121",
        "NASNetMobile",
        "Xception",
        "ConvNeXtTiny",
        "RegNetX002",
    ],
)
def test_published_architectures(name: str, tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    make = getattr(tf_keras.applications, name)
    model = make(weights=None, input_shape=(96, 96, 3), classes=5)
    carried = carry(_save(model, tmp_path, "h5")).model
    x = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    wanted, found = np.asarray(model(x, training=False)), np.asarray(carried(x, training=False))
    assert np.abs(wanted - found).max() <= 1e-5 * np.abs(wanted).max()
