"""Activations without operators that TFLite has no 16-bit versions of, or whose values are huge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
