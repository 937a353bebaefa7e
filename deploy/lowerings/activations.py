"""Activations in operators that kernels have, and compute rightly.

Some operators have no 16 bits in TFLite, some values are huge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def hard_silu(_own: Callable[..., Any], x: tf.Tensor) -> tf.Tensor:
    """Without what the converter would know as HARD_SWISH, which has no 16 bits."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    return x * tf.clip_by_value(x * (1 / 6) + 0.5, 0.0, 1.0)


def _negative_part(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A tensor's positive and negative parts, without NEG, which has no 16 bits."""
    import tensorflow as tf

    positive = tf.nn.relu(x)
    return positive, x - positive


def prelu(_own: Callable[..., Any], layer: keras.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Without PRELU, which has no 16 bits."""
    positive, negative = _negative_part(inputs)
    return positive + layer.alpha * negative


def elu(_own: Callable[..., Any], x: tf.Tensor, alpha: float = 1.0) -> tf.Tensor:
    """Without ELU, which has no 16 bits."""
    import tensorflow as tf

    positive, negative = _negative_part(tf.convert_to_tensor(x))
    return positive + alpha * (tf.exp(negative) - 1.0)


def selu(_own: Callable[..., Any], x: tf.Tensor) -> tf.Tensor:
    """Without a comparison, which has no 16 bits, and exp of large x. (Klambauer et al. 2017)"""
    return 1.0507009873554805 * elu(_own, x, 1.6732632423543772)


def softplus(_own: Callable[..., Any], x: tf.Tensor) -> tf.Tensor:
    """As `max(x, 0) + log(1 + exp(-|x|))`, of which no part is larger than the whole.

    TensorFlow's converter writes `log(1 + exp(x))`, whose exponential takes all levels of an
    integer type, and is infinite in floats from 89 on.
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    positive = tf.nn.relu(x)
    return positive + tf.math.log(tf.exp(x - 2.0 * positive) + 1.0)


def log_sigmoid(own: Callable[..., Any], x: tf.Tensor) -> tf.Tensor:
    """By `softplus`; see there."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    return x - softplus(own, x)


def softmax(
    own: Callable[..., Any], layer: keras.Layer, inputs: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """A softmax over several axes as one over a single axis of all of their places.

    Keras writes it by the logarithm of a sum of exponentials, which is no softmax to whatever
    bounds masks and fixes ranges. LiteRT's reference kernels compute that wrongly in integers, and
    ONNX has no 16-bit version of a part of it.
    """
    import keras
    import tensorflow as tf

    rank = len(inputs.shape)
    several = isinstance(layer.axis, (tuple, list)) and len(layer.axis) > 1
    axes = sorted(axis % rank for axis in layer.axis) if several else []
    sizes = [inputs.shape[axis] for axis in axes]
    if not axes or None in sizes or (mask is not None and not _covers(mask, inputs, axes)):
        return own(layer, inputs, mask=mask)
    order = [axis for axis in range(rank) if axis not in axes] + axes
    plain = keras.layers.Softmax()
    found = plain(_joined(inputs, order, len(axes)), mask=_joined(mask, order, len(axes)))
    shape = tf.concat([tf.shape(found)[:-1], sizes], 0)
    known = [inputs.shape[axis] for axis in order]
    if known.count(None) < 2:
        shape = [-1 if size is None else size for size in known]
    return _transposed(tf.reshape(found, shape), [int(place) for place in np.argsort(order)])


def _covers(mask: tf.Tensor, inputs: tf.Tensor, axes: Sequence[int]) -> bool:
    """Whether a mask has a place for each place of some axes."""
    same = len(mask.shape) == len(inputs.shape)
    return same and all(mask.shape[axis] == inputs.shape[axis] for axis in axes)


def _joined(tensor: tf.Tensor | None, order: Sequence[int], count: int) -> tf.Tensor | None:
    """A tensor with some axes behind the others, as one."""
    import tensorflow as tf

    if tensor is None:
        return None
    moved = _transposed(tensor, order)
    places = int(np.prod(moved.shape[-count:]))
    known = [*moved.shape[:-count], places]
    if known.count(None) < 2:
        return tf.reshape(moved, [-1 if size is None else size for size in known])
    return tf.reshape(moved, tf.concat([tf.shape(moved)[:-count], [places]], 0))


def _transposed(tensor: tf.Tensor, order: Sequence[int]) -> tf.Tensor:
    import tensorflow as tf

    return tensor if list(order) == sorted(order) else tf.transpose(tensor, order)


def log_sum_exp(
    _own: Callable[..., Any],
    x: tf.Tensor,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
) -> tf.Tensor:
    """Without asking whether numbers are infinite, for which ONNX has no 16-bit version."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    largest = tf.reduce_max(x, axis, keepdims=True)
    shift = tf.where(tf.abs(largest) < np.inf, largest, tf.zeros_like(largest))
    total = tf.math.log(tf.reduce_sum(tf.exp(x - shift), axis, keepdims=True)) + shift
    if keepdims:
        return total
    return tf.reshape(total, []) if axis is None else tf.squeeze(total, axis)
