"""The networks of MLPerf Tiny (Banbury et al. 2021) with drawn weights, and their TFLite files.

Structure, operators and memory are those of the published networks; nothing was trained. The
last layer of a classifier is scaled so that its classes are about equally frequent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

L = keras.layers


def images(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Patches of colour, from 0 to 255; the first two images are all black and all white."""
    rng = np.random.default_rng(seed)
    tall, wide, channels = shape
    drawn = rng.integers(0, 256, (count, -(-tall // 8), -(-wide // 8), channels))
    drawn = drawn.repeat(8, 1).repeat(8, 2)[:, :tall, :wide].astype(np.float32)
    drawn[:1], drawn[1:2] = 0, 255
    return drawn


def _norm(x: Any, relu: bool = True) -> Any:
    x = L.BatchNormalization()(x)
    return L.Activation("relu")(x) if relu else x


def _unit(x: Any, filters: int, strides: int) -> Any:
    y = _norm(L.Conv2D(filters, 3, strides, padding="same")(x))
    y = _norm(L.Conv2D(filters, 3, padding="same")(y), relu=False)
    if strides > 1:
        x = L.Conv2D(filters, 1, strides, padding="same")(x)
    return L.Activation("relu")(L.Add()([x, y]))


def _classes(image: Any, x: Any, count: int) -> keras.Model:
    x = L.Flatten()(L.AveragePooling2D(x.shape[1:3])(x))
    model = keras.Model(image, L.Dense(count, activation="softmax", name="dense")(x))
    _draw(model)
    _balance(model)
    return model


def resnet8() -> keras.Model:
    """32 x 32 colour images into 10 classes: three residual units."""
    image = keras.Input((32, 32, 3), name="input_1")
    x = _norm(L.Conv2D(16, 3, padding="same")(image))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        x = _unit(x, filters, strides)
    return _classes(image, x, 10)


def ds_cnn() -> keras.Model:
    """A spectrogram of one second into 12 words: convolutions cut in two."""
    sound = keras.Input((49, 10, 1), name="input_1")
    x = _norm(L.Conv2D(64, (10, 4), 2, padding="same")(sound))
    for _ in range(4):
        x = _norm(L.DepthwiseConv2D(3, padding="same")(x))
        x = _norm(L.Conv2D(64, 1, padding="same")(x))
    return _classes(sound, x, 12)


def mobilenet() -> keras.Model:
    """96 x 96 colour images into 2 classes: MobileNet, a quarter as wide."""
    image = keras.Input((96, 96, 3), name="input_1")
    x = _norm(L.Conv2D(8, 3, 2, padding="same")(image))
    wide = [16, 32, 32, 64, 64, *6 * [128], 256, 256]
    for place, filters in enumerate(wide):
        strides = 2 if place in (1, 3, 5, 11) else 1
        x = _norm(L.DepthwiseConv2D(3, strides, padding="same")(x))
        x = _norm(L.Conv2D(filters, 1, padding="same")(x))
    return _classes(image, x, 2)


def autoencoder() -> keras.Model:
    """640 places of a spectrogram through 8 and back."""
    sound = keras.Input((640,), name="input_1")
    x = sound
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = _norm(L.Dense(units)(x))
    model = keras.Model(sound, L.Dense(640)(x))
    _draw(model)
    return model


def branches() -> keras.Model:
    """Tensors of many sizes that live long: joined, padded, turned and given out in three ways."""
    sound = keras.Input((60, 24), name="sound")
    a = L.Conv1D(8, 5, padding="same", activation="relu")(sound)
    b = L.Permute((2, 1))(L.Conv1D(60, 3, padding="same")(L.Permute((2, 1))(sound)))
    x = L.Concatenate()([a, b, L.MaxPooling1D(3, 1, padding="same")(sound)])
    x = L.Reshape((60, 8, 7))(x)
    y = L.Conv2D(4, 3, padding="same", activation="sigmoid")(L.ZeroPadding2D(2)(x))
    z = L.Cropping2D(2)(y)
    model = keras.Model(sound, [L.Reshape((60, 32))(z), L.Flatten()(y), L.Dense(3)(a)])
    _draw(model)
    return model


def _draw(model: keras.Model) -> None:
    """Weights from one seed; no two biases, means or variances are equal."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if len(variable.shape) > 1:  # He et al. (2015)
            inputs = int(np.prod(variable.shape[:-1]))
            if "depthwise" in variable.path:
                inputs = int(np.prod(variable.shape[:2]))
            variable.assign(rng.normal(0, np.sqrt(2 / inputs), variable.shape))
        elif "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.7, 1.3, variable.shape))
        elif variable.dtype == "float32":
            variable.assign(rng.normal(0, 0.1, variable.shape))


def _balance(model: keras.Model) -> None:
    """Let the last layer tell by the three main components of its inputs, every class as often.

    What differs most between images survives the rounding to int8.
    """
    head = model.layers[-1]
    features = keras.Model(model.input, head.input)
    seen = np.asarray(features(images(128, model.input.shape[1:], seed=9)))
    _, spread, components = np.linalg.svd(seen - seen.mean(0), full_matrices=False)
    unit = components[:3].T / spread[:3] * np.sqrt(len(seen))
    drawn = np.random.default_rng(7).normal(size=(3, head.units))
    kernel = unit @ (3 * drawn / np.linalg.norm(drawn, axis=0))
    head.set_weights([kernel, -seen.mean(0) @ kernel])


def _convert(
    model: keras.Model, integers: bool = False, dynamic: bool = False, samples: Any = None
) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = [tf.TensorSpec((1, *t.shape[1:]), name=t.name) for t in model.inputs]
    traced = tf.function(lambda x: model(x, training=False), input_signature=spec)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    return _finish(converter, integers, dynamic, samples)


def _finish(converter: Any, integers: bool, dynamic: bool, samples: Any) -> bytes:
    import tensorflow as tf

    if integers or dynamic:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if integers:
        converter.representative_dataset = lambda: ([x[None]] for x in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(16, *shape)).astype(np.float32)


def _lstm(integers: bool) -> bytes:
    """One sequence of 28 steps at a time, as TFLite's one operator."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(4)
    sequence = tf_keras.Input((28, 28), batch_size=1, name="fixed_input")
    x = tf_keras.layers.LSTM(20)(sequence)  # what an earlier run left fades over 28 steps
    model = tf_keras.Model(sequence, tf_keras.layers.Dense(10, activation="softmax")(x))
    traced = tf.function(model.call, input_signature=[tf.TensorSpec((1, 28, 28), name="fixed")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [traced.get_concrete_function()], model
    )
    return _finish(converter, integers, False, np.abs(_normal(28, 28)).clip(0, 1))


def _streaming() -> bytes:
    """A layer that remembers the last steps in a variable of its own."""
    import tensorflow as tf

    module = tf.Module()
    module.past = tf.Variable(tf.zeros((1, 4, 8)))
    module.kernel = tf.constant(np.random.default_rng(1).normal(size=(56, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 3, 8), name="step")])
    def step(x: Any) -> Any:
        window = tf.concat([module.past, x], axis=1)
        module.past.assign(window[:, 3:])
        return tf.nn.sigmoid(tf.reshape(window, (1, 56)) @ module.kernel)

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [step.get_concrete_function()], module
    )
    return converter.convert()


def keras_file(name: str) -> bytes:
    """A network of `NETWORKS` as a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        NETWORKS[name]().save(path)
        return path.read_bytes()


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "resnet8": resnet8,
    "ds_cnn": ds_cnn,
    "mobilenet": mobilenet,
    "autoencoder": autoencoder,
    "branches": branches,
}
FILES: dict[str, Callable[[], bytes]] = {
    "resnet8_float": lambda: _convert(resnet8()),
    "resnet8_int8": lambda: _convert(resnet8(), True, samples=images(32, (32, 32, 3))),
    "ds_cnn_float": lambda: _convert(ds_cnn()),
    "ds_cnn_dynamic": lambda: _convert(ds_cnn(), dynamic=True),
    "ds_cnn_int8": lambda: _convert(ds_cnn(), True, samples=images(32, (49, 10, 1))),
    "mobilenet_float": lambda: _convert(mobilenet()),
    "mobilenet_int8": lambda: _convert(mobilenet(), True, samples=images(8, (96, 96, 3)) / 255),
    "autoencoder_int8": lambda: _convert(autoencoder(), True, samples=_normal(640)),
    "branches_float": lambda: _convert(branches()),
    "lstm_float": lambda: _lstm(False),
    "lstm_int8": lambda: _lstm(True),
    "streaming_float": _streaming,
}
