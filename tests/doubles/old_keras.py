"""What a tf_keras model computes, also where the processor lacks TensorFlow's kernels."""

from __future__ import annotations

from typing import Any


def outputs_of(model: Any, x: Any) -> list[Any]:
    """The flat outputs in inference.

    TensorFlow convolves with the channels first on some processors only; XLA does on all.
    """
    import tensorflow as tf

    try:
        return tf.nest.flatten(model(x, training=False))
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        compiled = tf.function(lambda given: model(given, training=False), jit_compile=True)
        return tf.nest.flatten(compiled(tf.nest.map_structure(tf.convert_to_tensor, x)))
