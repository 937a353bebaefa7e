"""Convolutions and poolings of volumes by those of images, which every kernel set has.

TFLite has no pooling of volumes, and its convolution of them has no integers; TensorFlow Lite
Micro has neither. A convolution over depth, rows and columns is one of rows and columns over the
planes that lie at the taps of the depth, as channels side by side; a pooling is one over the rows
and columns and one over the depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Layers that these functions lower.
_KINDS = frozenset({"AveragePooling3D", "Conv3D", "MaxPooling3D"})


def has_volumes(layers: Sequence[Any]) -> bool:
    """Whether some of these layers convolve or pool volumes."""
    return any(type(layer).__name__ in _KINDS for layer in layers)


def _is_plain(inputs: tf.Tensor, data_format: str | None) -> bool:
    """Whether these are volumes of known sizes, the channels last."""
    import keras

    last = (data_format or keras.config.image_data_format()) == "channels_last"
    return last and len(inputs.shape) == 5 and None not in inputs.shape[1:]


def pooling(
    own: Callable[..., Any],
    inputs: tf.Tensor,
    pool_size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> tf.Tensor:
    """`keras.ops.max_pool` or `average_pool`: over each plane, then over the depth.

    At an edge that is padded an average is over the values that are there, whose number is a
    product of those along the axes, so averages are taken one after the other as well.
    """
    import tensorflow as tf

    if not _is_plain(inputs, data_format):
        return own(inputs, pool_size, strides, padding, data_format)
    sizes = _each(pool_size)
    steps = sizes if strides is None else _each(strides)
    depth, *plane = inputs.shape[1:]
    planes = own(tf.reshape(inputs, [-1, *plane]), sizes[1:], steps[1:], padding, "channels_last")
    height, width, channels = planes.shape[1:]
    columns = tf.reshape(planes, [-1, depth, height * width, channels])
    pooled = own(columns, (sizes[0], 1), (steps[0], 1), padding, "channels_last")
    return tf.reshape(pooled, [-1, pooled.shape[1], height, width, channels])


def volume_convolution(
    own: Callable[..., Any],
    inputs: tf.Tensor,
    kernel: tf.Tensor | keras.Variable,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> tf.Tensor:
    """`keras.ops.conv` of volumes as one of planes; others, and grouped ones, as they are."""
    import tensorflow as tf

    plain = _is_plain(inputs, data_format) and inputs.shape[-1] == kernel.shape[-2]
    if not plain:
        return own(inputs, kernel, strides, padding, data_format, dilation_rate)
    steps, dilations = _each(strides), _each(dilation_rate)
    taps, *window = kernel.shape
    rows, size = _padded(inputs, taps, steps[0], dilations[0], padding)
    begins = [tap * dilations[0] for tap in range(taps)]
    parts = [rows[:, b : b + (size - 1) * steps[0] + 1 : steps[0]] for b in begins]
    planes = tf.concat([tf.reshape(part, [-1, *inputs.shape[2:]]) for part in parts], -1)
    flat = tf.reshape(
        tf.transpose(tf.convert_to_tensor(kernel), [1, 2, 0, 3, 4]),
        [*window[:2], taps * window[2], window[3]],
    )
    made = own(planes, flat, steps[1:], padding, "channels_last", dilations[1:])
    return tf.reshape(made, [-1, size, *made.shape[1:]])


def _padded(
    x: tf.Tensor, taps: int, step: int, dilation: int, padding: str
) -> tuple[tf.Tensor, int]:
    """Volumes as (samples, depth, values of a plane), padded in depth, and the depth to come."""
    import tensorflow as tf

    depth, reach = x.shape[1], (taps - 1) * dilation + 1
    flat = tf.reshape(x, [-1, depth, int(np.prod(x.shape[2:]))])
    if padding == "valid":
        return flat, (depth - reach) // step + 1
    size = -(-depth // step)
    more = max((size - 1) * step + reach - depth, 0)
    return tf.pad(flat, [[0, 0], [more // 2, more - more // 2], [0, 0]]) if more else flat, size


def _each(value: int | Sequence[int]) -> tuple[int, ...]:
    """A setting of the three axes of a volume."""
    return tuple(int(n) for n in np.broadcast_to(value, 3))
