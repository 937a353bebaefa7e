"""Transposed convolutions with an output padding."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from edgepress.deploy import export
from edgepress.deploy.lowerings.operations import lowered_operations


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_convolutions_give_the_same(padding: str, rank: int) -> None:
    random = np.random.default_rng(0)
    for size, window, steps in itertools.product((1, 5), (1, 2, 3, 5), (2, 3)):
        x = ops.convert_to_tensor(random.normal(size=(2, *[size] * rank, 3)).astype(np.float32))
        kernel = random.normal(size=(*[window] * rank, 4, 3)).astype(np.float32)
        for more in (None, *range(steps)):
            given = x, kernel, steps, padding, more
            try:
                own = ops.conv_transpose(*given)
            except (ValueError, tf.errors.OpError):  # no size is left, or no kernel takes it
                continue
            with lowered_operations("onnx"):
                lowered = ops.conv_transpose(*given)
            np.testing.assert_allclose(lowered, own, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((5, 4, 3), layers.Conv2DTranspose(4, 3, strides=3, output_padding=2)),
        ((6, 3), layers.Conv1DTranspose(4, 3, strides=3, output_padding=2)),
        ((5, 4, 3), layers.Conv2DTranspose(4, 2, strides=3, padding="same")),
    ],
)
def test_output_paddings_that_onnx_does_not_know_have_files(shape, layer, tmp_path, worker) -> None:
    inputs = keras.Input(shape, name="inputs")
    model = keras.Model(inputs, layer(inputs))
    result = export(model, tmp_path / "out", ("onnx",), ("float32",), worker=worker)
    assert result.passed, (result.skipped, result.failed)
