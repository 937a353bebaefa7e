"""Sums and normalisations that lose nothing in integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_FLOATS = ("float32", "float64")


def sum_as_mean(
    own: Callable[..., Any],
    x: tf.Tensor,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
) -> tf.Tensor:
    """A sum as a mean times a number.

    To TFLite's converter the sum of 16-bit numbers has the range of its terms, and saturates;
    LiteRT's reference kernel adds 8-bit numbers wrongly where sum and terms differ in scale.
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    axes = range(len(x.shape)) if axis is None else np.atleast_1d(axis)
    sizes = [x.shape[int(a)] for a in axes]
    if not x.dtype.is_floating or None in sizes:
        return own(x, axis=axis, keepdims=keepdims)
    return tf.reduce_mean(x, axis, keepdims) * float(math.prod(sizes))


def _moments(x: tf.Tensor, axes: int | Sequence[int]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean, departures from it and variance, without SQUARED_DIFFERENCE, which has no 16 bits."""
    import tensorflow as tf

    mean = tf.reduce_mean(x, axes, keepdims=True)
    departures = x - mean
    return mean, departures, tf.reduce_mean(departures * departures, axes, keepdims=True)


def layer_normalization(
    own: Callable[..., Any],
    x: tf.Tensor,
    gamma: tf.Tensor | keras.Variable | None = None,
    beta: tf.Tensor | keras.Variable | None = None,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> tf.Tensor:
    """A normalisation of departures from the mean.

    Keras subtracts the mean after the division. Integers lose all of a small departure beside a
    large mean that way: with a mean of twenty deviations int8 had a noise of 0.29 and has 0.06.
    """
    import keras
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if x.dtype.name not in _FLOATS:
        return own(x, gamma, beta, axis, epsilon, rms_scaling)
    axes = sorted(a % len(x.shape) for a in np.atleast_1d(axis).tolist())
    shape = [size if place in axes else 1 for place, size in enumerate(x.shape)]
    _, departures, variance = _moments(x, axes)
    epsilon = keras.config.epsilon() if epsilon is None else epsilon
    result = (x if rms_scaling else departures) * tf.math.rsqrt(variance + epsilon)
    return _scaled(result, gamma, None if rms_scaling else beta, shape)


def _scaled(
    x: tf.Tensor,
    gamma: tf.Tensor | keras.Variable | None,
    beta: tf.Tensor | keras.Variable | None,
    shape: Sequence[int],
) -> tf.Tensor:
    """Times one weight and plus another, each in this shape, where there are such."""
    import tensorflow as tf

    if gamma is not None:
        x = x * tf.reshape(tf.cast(gamma, x.dtype), shape)
    return x if beta is None else x + tf.reshape(tf.cast(beta, x.dtype), shape)


def group_normalization(
    own: Callable[..., Any], layer: keras.Layer, groups: tf.Tensor, shape: Sequence[int]
) -> tf.Tensor:
    """The same for groups of channels, as `GroupNormalization` reshapes them."""
    import tensorflow as tf

    if groups.dtype.name not in _FLOATS:
        return own(layer, groups, shape)
    axes = list(range(1, len(groups.shape)))
    axes.pop(-2 if layer.axis == -1 else layer.axis - 1)
    _, departures, variance = _moments(groups, axes)
    result = departures * tf.math.rsqrt(variance + layer.epsilon)
    gamma, beta = layer.gamma if layer.scale else None, layer.beta if layer.center else None
    return _scaled(result, gamma, beta, layer._create_broadcast_shape(shape))


def mean_and_variance(
    own: Callable[..., Any],
    x: tf.Tensor,
    axes: int | Sequence[int],
    keepdims: bool = False,
    synchronized: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`keras.ops.moments`."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if synchronized or x.dtype.name not in _FLOATS:
        return own(x, axes, keepdims, synchronized)
    mean, _, variance = _moments(x, axes)
    if keepdims:
        return mean, variance
    return tf.squeeze(mean, axes), tf.squeeze(variance, axes)


def square(own: Callable[..., Any], x: tf.Tensor) -> tf.Tensor:
    """A product: SQUARE has no 16 bits."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    return x * x if x.dtype.is_floating else own(x)


def normalize(
    own: Callable[..., Any],
    x: tf.Tensor,
    axis: int | Sequence[int] = -1,
    order: int = 2,
    epsilon: float | None = None,
) -> tf.Tensor:
    """A division by the Euclidean length without 1e12 in it, which leaves 16 bits no level."""
    import keras
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if order != 2 or x.dtype.name not in _FLOATS or not len(x.shape):
        return own(x, axis, order, epsilon)
    epsilon = keras.config.epsilon() if epsilon is None else epsilon
    square = sum_as_mean(keras.ops.sum, x * x, axis, keepdims=True)
    return x * tf.math.rsqrt(tf.maximum(square, epsilon**2))
