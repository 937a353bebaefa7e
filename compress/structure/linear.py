"""Layers that are one matrix product at every place: what least squares can refit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
_BATCH = 32


def is_linear(layer: Any) -> bool:
    """Whether a layer is a dense layer, or a convolution in one or two dimensions without groups.

    Layers with adapters, quantised kernels or shared inner state don't count.
    """
    import keras

    plain = isinstance(layer, (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D))
    hidden = getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None)
    return plain and not hidden and getattr(layer, "groups", 1) == 1


def kernel_rows(layer: Any) -> Rows:
    """The kernel as a matrix: (taps x input channels, output channels)."""
    value = np.asarray(layer.kernel.numpy(), np.float64)
    return value.reshape(-1, value.shape[-1])


def taps(layer: Any) -> int:
    """Places that the kernel covers: 1 for a dense layer, 9 for a 3x3 convolution."""
    return math.prod(layer.kernel.shape[:-2])


class RowSampler:
    """Draws matching rows from the inputs of a layer.

    Args:
        most: Rows to draw at most.
        seed: Draws which ones.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._seed = seed

    def rows(self, layer: Any, inputs: Any) -> Rows:
        """The vectors that a layer's kernel is multiplied with.

        Args:
            layer: A linear layer.
            inputs: (n, …) input tensor.

        Returns:
            (rows, taps x channels), the same places for every call with the same sizes.
        """
        return self._drawn(inputs, lambda part: _patches(layer, part))

    def points(self, values: Any, axis: int) -> Rows:
        """The channel vectors of a tensor at the places of the rows of the layer that makes it.

        Args:
            values: (n, …) tensor of the layer's output shape.
            axis: Its channel axis.
        """
        return self._drawn(values, lambda part: channel_vectors(part, axis))

    def _drawn(self, values: Any, rows_of: Callable[[Any], NDArray[np.float32]]) -> Rows:
        random = np.random.default_rng(self._seed)
        count = len(values)
        wanted = -(-self._most // -(-count // _BATCH))
        parts = []
        for start in range(0, count, _BATCH):
            rows = rows_of(values[start : start + _BATCH])
            chosen = random.choice(len(rows), min(len(rows), wanted), replace=False)
            parts.append(rows[np.sort(chosen)])
        return np.concatenate(parts).astype(np.float64)


def channel_vectors(values: Any, axis: int) -> NDArray[np.float32]:
    """A tensor as (places, channels)."""
    flat = np.moveaxis(np.asarray(values, np.float32), axis, -1)
    return flat.reshape(-1, flat.shape[-1])


def _patches(layer: Any, inputs: Any) -> NDArray[np.float32]:
    import tensorflow as tf

    inputs = tf.cast(inputs, tf.float32)
    if not hasattr(layer, "strides"):
        return np.asarray(tf.reshape(inputs, (-1, inputs.shape[-1])))
    if layer.data_format == "channels_first":
        inputs = tf.transpose(inputs, (0, *range(2, inputs.ndim), 1))
    padding, size = layer.padding, list(layer.kernel_size)
    strides, rates = list(layer.strides), list(layer.dilation_rate)
    if padding == "causal":
        inputs = tf.pad(inputs, ((0, 0), (rates[0] * (size[0] - 1), 0), (0, 0)))
        padding = "valid"
    if len(size) == 1:
        inputs = inputs[:, :, None]
        size, strides, rates = ([v[0], 1] for v in (size, strides, rates))
    found = tf.image.extract_patches(
        inputs, [1, *size, 1], [1, *strides, 1], [1, *rates, 1], padding.upper()
    )
    return np.asarray(tf.reshape(found, (-1, found.shape[-1])))
