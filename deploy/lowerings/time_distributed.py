"""Layers that are applied to each time step, where the number of steps is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def steps_as_samples(
    own: Callable[..., Any],
    layer: keras.layers.TimeDistributed,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """`TimeDistributed` over a free number of steps: the steps of all samples are one batch.

    Keras traces a loop over them, which runtimes refuse. A known number of steps stays a copy of
    the layer for each.

    Args:
        own: Keras's `call`.
        layer: The wrapper.
        inputs: Tensor of (samples, steps, …).
        training: As Keras passes it.
        mask: Of (samples, steps, …); None if there is none.

    Returns:
        Tensor of (samples, steps, …).
    """
    import tensorflow as tf

    if inputs.shape[1] is not None or None in inputs.shape[2:]:
        return own(layer, inputs, training=training, mask=mask)
    options: dict[str, Any] = {}
    if layer.layer._call_has_mask_arg and mask is not None:
        options["mask"] = _merged(mask)
    if layer.layer._call_has_training_arg:
        options["training"] = training
    found = layer.layer.call(_merged(inputs), **options)
    shape = tf.concat([tf.shape(inputs)[:2], tf.shape(found)[1:]], 0)
    divided = tf.reshape(found, shape)
    divided.set_shape((*inputs.shape[:2], *found.shape[1:]))
    return divided


def _merged(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor whose first two axes are one."""
    import tensorflow as tf

    return tf.reshape(tensor, (-1, *tensor.shape[2:]))
