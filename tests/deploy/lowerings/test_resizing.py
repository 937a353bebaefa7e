"""Resizing that formats have no operator for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgepress.deploy import export
from edgepress.deploy.exporters.tracing import trace_model
from edgepress.deploy.lowerings.operations import lowered_operations

_SIDES = (10, 7)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("size", [(13, 16), (4, 5), (4, 9)])
@pytest.mark.parametrize("method", ["area", "bicubic", "bilinear", "lanczos3", "nearest"])
def test_resizing_is_tensorflow_s(method, size, smooth):
    images = np.random.default_rng(0).normal(size=(2, *_SIDES, 3)).astype(np.float32)
    own = tf.image.resize(images, size, method, antialias=smooth)

    def resized(x):
        return tf.image.resize(x, size, method, antialias=smooth)

    with lowered_operations():
        function = tf.function(resized, autograph=False).get_concrete_function(
            tf.TensorSpec((None, *_SIDES, 3))
        )
    kinds = {operation.type for operation in function.graph.get_operations()}
    assert kinds.isdisjoint({"ResizeArea", "ResizeBicubic", "ScaleAndTranslate"})
    np.testing.assert_allclose(function(tf.constant(images)), own, atol=1e-5)


def test_free_sizes_are_left_to_tensorflow(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, layers.Resizing(5, 5, interpolation="bicubic")(image))
    assert "ResizeBicubic" in trace_model(model, tmp_path / "graph").operations


def test_bicubic_up_sampling_has_files_in_all_formats(tmp_path, worker):
    """TFLite has no such operator, and ONNX's departs from TensorFlow's."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 6, 3), name="image")
    x = layers.UpSampling2D(3, interpolation="bicubic")(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Conv2D(2, 1)(x))
    result = export(model, tmp_path / "out", ("tflite", "onnx", "c"), worker=worker)
    assert len(result) == 3, (result.skipped, result.failed)


@pytest.mark.parametrize("size", [(13, 5), (5, 7)])
def test_onnx_takes_tensorflow_s_nearest_pixel(size, tmp_path, worker):
    image = keras.Input((*_SIDES, 3), name="image")
    model = keras.Model(image, layers.Resizing(*size, interpolation="nearest")(image))
    result = export(model, tmp_path / "out", ("onnx",), worker=worker)
    assert result.passed, result.skipped


def test_int8_onnx_holds_a_factor_that_rounds_down(tmp_path, worker):
    """By sizes instead of factors ONNX Runtime doesn't load the file."""
    keras.utils.set_random_seed(0)
    image = keras.Input((5, 5, 3), name="image")
    x = layers.Resizing(7, 7)(layers.Conv2D(3, 1)(image))
    model = keras.Model(image, layers.Conv2D(2, 1)(x))
    samples = np.random.default_rng(0).normal(size=(64, 5, 5, 3)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    result = export(model, tmp_path / "out", ("onnx",), ("int8",), data, worker=worker)
    assert result.passed, result.failed
