"""Repeated values in operators that every kernel set has: TILE is in few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Of more copies a TILE is smaller than what names each of them.
_MOST = 16


def repeat(
    own: Callable[..., Any], x: tf.Tensor, repeats: int | Sequence[int], axis: int | None = None
) -> tf.Tensor:
    """Each element along an axis several times, as a pack of the copies."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if not isinstance(repeats, int) or axis is None or not 1 <= repeats <= _MOST:
        return own(x, repeats, axis)
    if repeats == 1:
        return x
    axis = axis % len(x.shape)
    shape = [*x.shape[:axis], _times(x.shape[axis], repeats), *x.shape[axis + 1 :]]
    if shape.count(None) > 1:
        return own(x, repeats, axis)
    copies = tf.stack([x] * repeats, axis=axis + 1)
    return tf.reshape(copies, [-1 if size is None else size for size in shape])


def tile(own: Callable[..., Any], x: tf.Tensor, repeats: int | Sequence[int]) -> tf.Tensor:
    """A tensor several times along its axes, as a concatenation of the copies."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    counts = [repeats] if isinstance(repeats, int) else list(repeats)
    if not all(isinstance(count, int) and 1 <= count <= _MOST for count in counts):
        return own(x, repeats)
    counts = [1] * (len(x.shape) - len(counts)) + counts
    for _ in range(len(counts) - len(x.shape)):
        x = tf.expand_dims(x, 0)
    for axis, count in enumerate(counts):
        x = tf.concat([x] * count, axis) if count > 1 else x
    return x


def up_sampling(
    own: Callable[..., Any],
    layer: keras.Layer,
    x: tf.Tensor,
    height_factor: int,
    width_factor: int,
    data_format: str,
    interpolation: str = "nearest",
) -> tf.Tensor:
    """`UpSampling2D` to the nearest pixel as the one operator that it is.

    Bilinear where sizes are free, too: Keras asks whether its computed sizes are true, which no
    graph can answer.
    """
    import tensorflow as tf

    if interpolation != "nearest" and not (interpolation == "bilinear" and None in x.shape[1:]):
        return own(layer, x, height_factor, width_factor, data_format, interpolation)
    first = data_format == "channels_first"
    x = tf.transpose(x, [0, 2, 3, 1]) if first else x
    known = x.shape[1:3]
    size = tf.shape(x)[1:3] if None in known else np.array(known)
    x = tf.image.resize(x, size * [height_factor, width_factor], interpolation)
    return tf.transpose(x, [0, 3, 1, 2]) if first else x


def _times(size: int | None, repeats: int) -> int | None:
    return None if size is None else size * repeats
