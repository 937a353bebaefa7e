"""Networks of volumes in formats that convolve and pool images alone."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgepress.deploy import export
from edgepress.deploy.lowerings.operations import lowered_operations

_SIZES = ((5, 6, 7), (4, 4, 4))
_WINDOWS = ((3, 2, 1), (2, 3, 3))
_STEPS = ((1, 1, 1), (2, 1, 2), (2, 2, 2))
_DILATIONS = ((2, 1, 1), (1, 2, 2))


def _same(compute) -> None:
    own = compute()
    with lowered_operations("float"):
        lowered = compute()
    np.testing.assert_allclose(lowered, own, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_volumes_by_planes_give_the_same(padding: str) -> None:
    random = np.random.default_rng(0)
    for size, window, steps in itertools.product(_SIZES, _WINDOWS, _STEPS):
        x = ops.convert_to_tensor(random.normal(size=(2, *size, 3)).astype(np.float32))
        kernel = random.normal(size=(*window, 3, 4)).astype(np.float32)
        options = {"strides": steps, "padding": padding}
        _same(lambda: ops.conv(x, kernel, **options))  # noqa: B023
        _same(lambda: ops.max_pool(x, window, **options))  # noqa: B023
        _same(lambda: ops.average_pool(x, window, **options))  # noqa: B023
    for dilation in _DILATIONS:
        x = ops.convert_to_tensor(random.normal(size=(2, 6, 7, 8, 3)).astype(np.float32))
        kernel = random.normal(size=(2, 3, 2, 3, 4)).astype(np.float32)
        _same(lambda: ops.conv(x, kernel, padding=padding, dilation_rate=dilation))  # noqa: B023


def test_a_network_of_volumes_has_files_in_every_format(tmp_path, worker) -> None:
    keras.utils.set_random_seed(0)
    volume = keras.Input((6, 8, 8, 2), name="volume")
    x = layers.Conv3D(6, 3, padding="same", activation="relu")(volume)
    x = layers.Conv3D(8, (3, 2, 2), activation="relu")(layers.MaxPooling3D(2)(x))
    x = layers.AveragePooling3D((1, 2, 2), padding="same")(x)
    model = keras.Model(volume, layers.Dense(5)(layers.Flatten()(x)))
    samples = np.random.default_rng(0).normal(size=(96, 6, 8, 8, 2)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    formats, precisions = ("tflite", "c", "onnx"), ("float32", "int8")
    result = export(model, tmp_path / "out", formats, precisions, data, worker=worker)
    assert len(result.artifacts) == 6, (result.skipped, result.failed)
