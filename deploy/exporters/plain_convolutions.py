"""Dilated convolutions that say so themselves.

TensorFlow dilates by SPACE_TO_BATCH_ND, which costs two more operators in TFLite and which
TensorFlow Lite Micro computes wrongly without a word. The operators of convolutions have an
attribute for it; TensorFlow has no kernel for that in some of them, but every converter reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def _dilated(
    inputs: Any, strides: Any, dilation_rate: Any, data_format: str | None
) -> tuple[int, ...] | None:
    """Dilation of rows and columns, where a convolution is dilated and can say so itself."""
    import keras

    rank = len(inputs.shape) - 2
    dilations, steps = (
        tuple(int(n) for n in np.broadcast_to(v, rank)) for v in (dilation_rate, strides)
    )
    last = (data_format or keras.config.image_data_format()) == "channels_last"
    if rank not in (1, 2) or not last or max(dilations) == 1 or max(steps) > 1:
        return None
    return (1, *dilations) if rank == 1 else dilations


def _in_rows(x: Any, kernels: Sequence[Any], convolve: Callable[..., Any]) -> Any:
    """A convolution over rows and columns, of steps as one row of them."""
    import tensorflow as tf

    if len(x.shape) == 4:
        return convolve(x, *kernels)
    return tf.squeeze(convolve(tf.expand_dims(x, 1), *(tf.expand_dims(k, 0) for k in kernels)), [1])


def convolution(
    own: Callable[..., Any],
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`keras.ops.conv`."""
    import tensorflow as tf

    dilations = _dilated(inputs, strides, dilation_rate, data_format)
    if dilations is None:
        return own(inputs, kernel, strides, padding, data_format, dilation_rate)

    def convolve(x: Any, weights: Any) -> Any:
        return tf.nn.conv2d(x, weights, 1, padding.upper(), dilations=dilations)

    return _in_rows(tf.convert_to_tensor(inputs), [tf.convert_to_tensor(kernel)], convolve)


def depthwise_convolution(
    own: Callable[..., Any],
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`keras.ops.depthwise_conv`."""
    import tensorflow as tf

    dilations = _dilated(inputs, strides, dilation_rate, data_format)
    if dilations is None:
        return own(inputs, kernel, strides, padding, data_format, dilation_rate)

    def convolve(x: Any, weights: Any) -> Any:
        return tf.raw_ops.DepthwiseConv2dNative(
            input=x,
            filter=weights,
            strides=(1, 1, 1, 1),
            padding=padding.upper(),
            dilations=(1, *dilations, 1),
        )

    return _in_rows(tf.convert_to_tensor(inputs), [tf.convert_to_tensor(kernel)], convolve)


def separable_convolution(
    own: Callable[..., Any],
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`keras.ops.separable_conv` as its two halves."""
    from keras.src import backend

    kernels = depthwise_kernel, pointwise_kernel
    if _dilated(inputs, strides, dilation_rate, data_format) is None:
        return own(inputs, *kernels, strides, padding, data_format, dilation_rate)
    x = backend.nn.depthwise_conv(inputs, kernels[0], 1, padding, data_format, dilation_rate)
    return backend.nn.conv(x, kernels[1], 1, "valid", data_format)
