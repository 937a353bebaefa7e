"""TensorFlow's fused batch normalisation in place of Keras 3's separate operations, for a training.

Keras 3 computes moments, scale and shift of BatchNormalization one after the other, which costs a
batch-norm network about a third of its training step on a CPU. While `fused_batch_norm` is active
the layers that allow it compute the same in one operation. Nothing that is saved changes: the
layers keep their class, configuration and variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@contextmanager
def fused_batch_norm(model: keras.Model) -> Iterator[int]:
    """Let a model's BatchNormalization layers compute by the fused operation inside the block.

    Functions traced inside the block keep the fused operation, so trace again after it. Outputs,
    gradients and moving statistics are those of Keras within float tolerance.

    Args:
        model: A Keras model that the caller owns.

    Yields:
        Number of layers that were swapped.
    """
    layers = [layer for layer in model._flatten_layers() if _allows_fusion(layer)]
    for layer in layers:
        # In the instance's dictionary, past Keras's tracking: not part of the layer's state.
        layer.__dict__["call"] = _fused_call(layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.__dict__["call"]


def _allows_fusion(layer: keras.Layer) -> bool:
    """Exactly Keras's layer, not swapped yet, over the last of four axes, by plain statistics."""
    import keras

    return (
        type(layer) is keras.layers.BatchNormalization
        and "call" not in layer.__dict__
        and keras.backend.backend() == "tensorflow"
        and layer.built
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and not layer.renorm
        and not layer.synchronized
    )


def _fused_call(layer: keras.layers.BatchNormalization) -> Callable[..., tf.Tensor]:
    """The layer's `call` by `tf.raw_ops.FusedBatchNormV3`."""
    import tensorflow as tf

    plain_call = type(layer).call

    def call(
        inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        if mask is not None or inputs.dtype not in (tf.float32, tf.float16, tf.bfloat16):
            return plain_call(layer, inputs, training=training, mask=mask)
        batch_statistics = bool(training and layer.trainable)
        channels = tf.shape(layer.moving_mean.value)
        gamma = layer.gamma.value if layer.scale else tf.ones(channels)
        beta = layer.beta.value if layer.center else tf.zeros(channels)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=[] if batch_statistics else layer.moving_mean.value,
            variance=[] if batch_statistics else layer.moving_variance.value,
            epsilon=layer.epsilon,
            exponential_avg_factor=1.0,
            is_training=batch_statistics,
        )
        if batch_statistics:
            _follow(layer, mean, variance, tf.size(inputs) // tf.size(mean))
        return outputs

    return call


def _follow(
    layer: keras.layers.BatchNormalization, mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor
) -> None:
    """Move the layer's statistics towards the batch's, as Keras does.

    The fused operation gives the variance of a sample, over `count - 1`; Keras keeps the one over
    `count`.
    """
    import tensorflow as tf

    n = tf.cast(count, variance.dtype)
    biased = variance * (tf.maximum(n - 1.0, 1.0) / n)
    keep = layer.momentum
    layer.moving_mean.assign(layer.moving_mean * keep + mean * (1.0 - keep))
    layer.moving_variance.assign(layer.moving_variance * keep + biased * (1.0 - keep))
