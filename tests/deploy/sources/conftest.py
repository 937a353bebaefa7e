"""One small network as every kind of file, and data that it classifies without a mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgepress import deploy
from edgepress.deploy.process.worker import Worker


@dataclass(frozen=True)
class Kinds:
    """The network, its files by name, and the data.

    Attributes:
        model: The Keras model; half of its first kernel is zero.
        files: "tflite", "tflite int8" (int8 in and out), "onnx", "onnx int8", "savedmodel".
        data: Its inputs and its own decisions, a .npz.
    """

    model: Any
    files: dict[str, Path]
    data: Path


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory, worker: Worker) -> Kinds:
    folder = tmp_path_factory.mktemp("kinds")
    model = _network()
    x = np.random.default_rng(1).normal(size=(300, 8, 8, 2)).astype(np.float32)
    y = model.predict(x, verbose=0).argmax(-1)
    data = folder / "data.npz"
    np.savez(data, x_train=x, y_train=y, x_test=x[:80], y_test=y[:80])
    results = [
        deploy.export(model, folder / "tflite", ["tflite"], ["float32"], worker=worker),
        deploy.export(
            model, folder / "int8", ["tflite"], ["int8"], str(data), "int8", worker=worker
        ),
        deploy.export(
            model, folder / "onnx", ["onnx"], ["float32", "int8"], str(data), worker=worker
        ),
    ]
    left_out = [part for result in results for part in (*result.skipped, *result.failed)]
    assert not left_out, left_out
    made = [artifact for result in results for artifact in result]
    files = {f"{a.format} {a.quantize}".removesuffix(" float32"): a.path for a in made}
    files["savedmodel"] = save_plain(model, folder / "plain")
    return Kinds(model, files, data)


@pytest.fixture(scope="session")
def inspected(kinds: Kinds) -> Callable[[str], Any]:
    """What `inspect` says of each file, asked once: a SavedModel takes a child with TensorFlow."""
    return cache(lambda kind: deploy.inspect(kinds.files[kind]))


def _network() -> Any:
    keras.utils.set_random_seed(3)
    x = keras.Input((8, 8, 2), name="image")
    y = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    y = keras.layers.DepthwiseConv2D(3, strides=2)(y)
    y = keras.layers.Conv2DTranspose(4, 3)(y)
    y = keras.layers.Dense(3, activation="softmax", name="kind")(keras.layers.Flatten()(y))
    model = keras.Model(x, y)
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:  # converters store equal ones only once
            layer.bias.assign(keras.random.normal(layer.bias.shape, stddev=0.1))
    kernel = model.layers[1].kernel
    kernel.assign(np.where(np.arange(6) < 3, kernel.numpy(), 0))
    return model


def save_plain(model: Any, folder: Path) -> Path:
    """A SavedModel of a model's inference, without a word of Keras."""
    module = tf.Module()
    module.held = [v.value for v in model.variables]

    @tf.function(input_signature=[tf.TensorSpec((None, *model.inputs[0].shape[1:]), name="image")])
    def infer(image: Any) -> Any:
        return {"kind": model(image, training=False)}

    tf.saved_model.save(module, str(folder), signatures=infer)
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Saves a function of three numbers as a SavedModel."""

    def make(function: Callable[[Any], Any], signed: bool = True) -> Path:
        module, folder = tf.Module(), tmp_path / "saved"
        spec = tf.TensorSpec((None, 3), tf.float32, name="x")
        module.infer = tf.function(function, autograph=False)
        traced = module.infer.get_concrete_function(spec)
        tf.saved_model.save(module, str(folder), signatures=traced if signed else None)
        return folder

    return make
