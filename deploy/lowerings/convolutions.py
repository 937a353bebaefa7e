"""Dilated convolutions that say so themselves.

TensorFlow dilates by SPACE_TO_BATCH_ND, which costs two more operators in TFLite and which
TensorFlow Lite Micro computes wrongly without a word. The operators of convolutions have an
attribute for it; TensorFlow has no kernel for that in some of them, but every converter reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def _dilated(
    inputs: tf.Tensor,
    strides: int | Sequence[int],
    dilation_rate: int | Sequence[int],
    data_format: str | None,
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


def _convolved(
    x: tf.Tensor, kernel: tf.Tensor | keras.Variable, padding: str, dilations: tuple[int, ...]
) -> tf.Tensor:
    import tensorflow as tf

    return tf.nn.conv2d(x, kernel, 1, padding, dilations=dilations)


def _depthwise_convolved(
    x: tf.Tensor, kernel: tf.Tensor | keras.Variable, padding: str, dilations: tuple[int, ...]
) -> tf.Tensor:
    import tensorflow as tf

    return tf.raw_ops.DepthwiseConv2dNative(
        input=x, filter=kernel, strides=(1, 1, 1, 1), padding=padding, dilations=(1, *dilations, 1)
    )


def _said(
    operator: Callable[[Any, Any, str, tuple[int, ...]], Any],
    own: Callable[..., Any],
    inputs: tf.Tensor,
    kernel: tf.Tensor | keras.Variable,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> tf.Tensor:
    """A convolution by an operator for images, of steps as of one row; Keras's own where it can't.

    Args:
        operator: Takes an image, its kernel, the padding and the dilation of rows and columns.
        own: Keras's function.
        inputs: As `own` takes it, and so on.
    """
    import tensorflow as tf

    dilations = _dilated(inputs, strides, dilation_rate, data_format)
    if dilations is None:
        return own(inputs, kernel, strides, padding, data_format, dilation_rate)
    x, weights = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
    if len(x.shape) == 4:
        return operator(x, weights, padding.upper(), dilations)
    rows = operator(tf.expand_dims(x, 1), tf.expand_dims(weights, 0), padding.upper(), dilations)
    return tf.squeeze(rows, [1])


convolution = partial(_said, _convolved)
depthwise_convolution = partial(_said, _depthwise_convolved)


def separable_convolution(
    own: Callable[..., Any],
    inputs: tf.Tensor,
    depthwise_kernel: tf.Tensor | keras.Variable,
    pointwise_kernel: tf.Tensor | keras.Variable,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> tf.Tensor:
    """`keras.ops.separable_conv` as its two halves."""
    from keras.src import backend

    kernels = depthwise_kernel, pointwise_kernel
    if _dilated(inputs, strides, dilation_rate, data_format) is None:
        return own(inputs, *kernels, strides, padding, data_format, dilation_rate)
    x = backend.nn.depthwise_conv(inputs, kernels[0], 1, padding, data_format, dilation_rate)
    return backend.nn.conv(x, kernels[1], 1, "valid", data_format)


def transposed_convolution(
    own: Callable[..., Any],
    inputs: tf.Tensor,
    kernel: tf.Tensor | keras.Variable,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    output_padding: int | Sequence[int] | None = None,
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> tf.Tensor:
    """`keras.ops.conv_transpose` with an output padding: without it, then cut or filled with zeros.

    ONNX has other output paddings than Keras, and none where the kernel ends before the padding. A
    kernel smaller than the stride, whose gaps Keras fills without being asked, gets zeros.
    """
    import keras
    import tensorflow as tf
    from keras.src.backend.common.backend_utils import compute_conv_transpose_output_shape

    given = inputs, kernel, strides, padding, output_padding, data_format, dilation_rate
    x, rank = tf.convert_to_tensor(inputs), len(inputs.shape) - 2
    last = (data_format or keras.config.image_data_format()) == "channels_last"
    steps, size = np.broadcast_to(strides, rank), kernel.shape[:-2]
    if output_padding is None and any(k < s for k, s in zip(size, steps, strict=True)):
        more = [[0, max(int(s) - k, 0)] for k, s in zip(size, steps, strict=True)]
        kernel = tf.pad(tf.convert_to_tensor(kernel), [*more, [0, 0], [0, 0]])
        return own(inputs, kernel, *given[2:])
    if output_padding is None or not last or None in x.shape[1:-1]:
        return own(*given)
    asked = compute_conv_transpose_output_shape(
        [*x.shape], size, kernel.shape[-2], strides, padding, output_padding, data_format, 1
    )[1:-1]
    full = own(x, kernel, strides, "valid", None, data_format, dilation_rate)
    slices, zeros = [], [[0, 0]]
    for n, k, s, wanted, made in zip(
        x.shape[1:-1], size, steps, asked, full.shape[1:-1], strict=True
    ):
        cut = max((n - 1) * int(s) + k - wanted, 0) // 2 if padding == "same" else 0
        slices.append(slice(cut, min(cut + wanted, made)))
        zeros.append([0, max(cut + wanted - made, 0)])
    part = full[(slice(None), *slices)]
    return tf.pad(part, [*zeros, [0, 0]]) if np.any(zeros) else part
