"""Networks as tf_keras saves them: what people published before Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


def _model(build: Callable[[Any], tuple[Any, Any]]) -> Callable[[], Any]:
    def make() -> Any:
        import tf_keras

        tf_keras.backend.clear_session()
        model = tf_keras.Model(*build(tf_keras))
        rng = np.random.default_rng(3)
        for variable in model.weights:
            value = rng.normal(0, 0.4, variable.shape)
            if "variance" in variable.name:
                value = np.abs(value) + 0.5
            if variable.dtype == "float32":
                variable.assign(value)
        return model

    return make


def _face_detector(k: Any) -> tuple[Any, Any]:
    image = k.Input((12, 12, 3))
    x = k.layers.MaxPooling2D(2)(k.layers.Conv2D(8, 3, activation="relu")(image))
    x = k.layers.Dropout(0.5)(k.layers.Dense(6, activation="relu")(k.layers.Flatten()(x)))
    return image, [k.layers.Dense(2, activation="softmax")(x), k.layers.Dense(4)(x)]


def _masked(k: Any, activation: str = "sigmoid") -> tuple[Any, Any]:
    series = k.Input((6, 4))
    x = k.layers.Masking(0.0)(series)
    x = k.layers.LSTM(5, return_sequences=True, recurrent_activation=activation)(x)
    return series, k.layers.Dense(2)(k.layers.LSTM(4, recurrent_activation=activation)(x))


def _normalised(k: Any) -> tuple[Any, Any]:
    image = k.Input((9, 9, 3))
    x = k.layers.Conv2D(6, 3, strides=2, use_bias=False)(image)
    x = k.layers.ReLU(6.0)(k.layers.BatchNormalization()(x))
    x = k.layers.BatchNormalization(scale=False)(k.layers.SeparableConv2D(8, 2)(x))
    return image, k.layers.Dense(3, "softmax")(k.layers.GlobalAveragePooling2D()(x))


def _convolutions(k: Any) -> tuple[Any, Any]:
    image = k.Input((8, 8, 4))
    x = k.layers.Conv2D(6, 3, padding="same", dilation_rate=2, activation="elu")(image)
    y = k.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(image)
    x = k.layers.Concatenate()([x, k.layers.LeakyReLU(0.2)(y)])
    return image, k.layers.Conv2DTranspose(2, 3, strides=2)(k.layers.UpSampling2D(2)(x))


def _volume(k: Any) -> tuple[Any, Any]:
    volume = k.Input((6, 6, 6, 2))
    x = k.layers.AveragePooling3D(2)(k.layers.Conv3D(4, 2, padding="same")(volume))
    return volume, k.layers.Dense(2)(k.layers.Flatten()(x))


def _film(k: Any) -> tuple[Any, Any]:
    film = k.Input((4, 6, 6, 2))
    x = k.layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(film)
    return film, k.layers.TimeDistributed(k.layers.Conv2D(2, 3))(x)


def _recurrent(k: Any) -> tuple[Any, Any]:
    series = k.Input((5, 3))
    x = k.layers.Bidirectional(k.layers.GRU(4, reset_after=False, return_sequences=True))(series)
    x = k.layers.SimpleRNN(5, return_sequences=True, go_backwards=True)(x)
    return series, k.layers.LSTM(3, recurrent_activation="hard_sigmoid")(x)


def _operators(k: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    image = k.Input((6, 6, 4))
    x = tf.nn.relu(k.layers.Conv2D(4, 3, padding="same")(image) * 0.5 - image)
    x = tf.concat([x[:, 1:], x[:, :1]], axis=1)
    return image, k.layers.Dense(3)(tf.reduce_mean(x, axis=[1, 2]))


def _words(k: Any) -> tuple[Any, Any]:
    words = k.Input((7,))
    x = k.layers.Conv1D(6, 3, activation="tanh")(k.layers.Embedding(20, 8)(words))
    return words, k.layers.Dense(1, activation="sigmoid")(k.layers.LSTM(5)(x))


def _attending(k: Any) -> tuple[Any, Any]:
    series = k.Input((6, 8))
    x = k.layers.Attention()([k.layers.Dense(8)(series), series])
    x = k.layers.MultiHeadAttention(2, 4)(x, series)
    return series, k.layers.Dense(2)(k.layers.LayerNormalization()(x))


def _conv1d(k: Any) -> tuple[Any, Any]:
    series = k.Input((10, 4))
    x = k.layers.ReLU()(k.layers.Conv1D(6, 3)(series))
    return series, k.layers.Dense(2)(k.layers.Flatten()(x))


NETWORKS: dict[str, Callable[[], Any]] = {
    "face_detector.h5": _model(_face_detector),
    "masked.h5": _model(_masked),
    "masked_hard_sigmoid.h5": _model(partial(_masked, activation="hard_sigmoid")),
    "normalised.h5": _model(_normalised),
    "convolutions.h5": _model(_convolutions),
    "volume.h5": _model(_volume),
    "film.h5": _model(_film),
    "recurrent.h5": _model(_recurrent),
    "operators.h5": _model(_operators),
    "words.h5": _model(_words),
    "attending.h5": _model(_attending),
    "conv1d.h5": _model(_conv1d),
    "normalised.keras": _model(_normalised),
    "normalised": _model(_normalised),
}


def write(name: str, folder: Path) -> Path:
    """The file of a network; without an ending, a SavedModel."""
    path = folder / name
    NETWORKS[name]().save(path, **({} if path.suffix else {"save_format": "tf"}))
    return path
