"""Pruned models are plain Keras models: they train on, and convert to TFLite with equal outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from architectures import MODELS
from pruned_twins import cut, inputs_for, outputs_of, randomise, relative_gap
from variants import mostly_slow

from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

QUICK = ["unet", "gates_and_nesting"]
SLOW = ["dense", "grouped", "depthwise", "places", "shuffle", "operations", "attention", "mixer"]


def _pruned(name: str) -> keras.Model:
    channels = find_channels(randomise(MODELS[name]()))
    return remove(channels, cut(channels, 0.5)).model


def _converted(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    runtime = Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
    (given,) = runtime.get_input_details()
    runtime.resize_tensor_input(given["index"], inputs.shape)
    runtime.allocate_tensors()
    runtime.set_tensor(given["index"], inputs)
    runtime.invoke()
    return [runtime.get_tensor(d["index"]) for d in runtime.get_output_details()]


def _check_conversion(name: str) -> None:
    model = _pruned(name)
    inputs = inputs_for(model)
    found = {a.shape: a for a in _converted(model, inputs)}
    expected = outputs_of(model, inputs)
    assert relative_gap(expected, [found[e.shape] for e in expected]) < 1e-4


@pytest.mark.parametrize("name", QUICK)
def test_tflite_gives_the_same(name: str) -> None:
    _check_conversion(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_tflite_gives_the_same_for_the_others(name: str) -> None:
    _check_conversion(name)


@pytest.mark.parametrize("name", mostly_slow(["unet", "bidirectional"], "unet"))
def test_pruned_models_train(name: str) -> None:
    model = _pruned(name)
    inputs = inputs_for(model)
    target = np.zeros_like(outputs_of(model, inputs)[0])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(inputs, target, epochs=15, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
