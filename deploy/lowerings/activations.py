"""Activations without the operators that TFLite has no 16-bit versions of."""

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
    """Without a comparison, which has no 16 bits. (Klambauer et al. 2017)"""
    return 1.0507009873554805 * elu(_own, x, 1.6732632423543772)
