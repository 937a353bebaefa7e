"""Looking at weights without copying them, and at their shapes without TensorFlow's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray


def seen(variable: keras.Variable) -> NDArray[Any]:
    """A weight's values, for looking at and not for writing to.

    Those in float32 are seen in TensorFlow's own memory, which a later change of the weight leaves
    as it is: it finds the memory in use and takes other. Keras and NumPy copy it twice.

    Args:
        variable: The weight.

    Returns:
        An array of the weight's shape and type.
    """
    value = variable.value
    if not hasattr(value, "read_value"):  # of a model that is looked at in its file
        return np.asarray(value)
    tensor = held(value)
    return np.asarray(memoryview(tensor) if variable.dtype == "float32" else tensor)


def held(variable: tf.Variable) -> tf.Tensor:
    """What a variable of TensorFlow's holds; it shares the memory until either changes.

    `read_value` also notes the reading for gradients, and takes three times as long for it.
    """
    import tensorflow as tf
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable

    if type(variable) is not ResourceVariable or not tf.executing_eagerly():
        return variable.read_value()
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def shape_of(weight: keras.Variable | tf.Tensor) -> tuple[int, ...]:
    """A weight's shape as plain numbers; `shape` makes an object of TensorFlow's at every look."""
    known = getattr(weight, "_shape", None)
    return known if type(known) is tuple else tuple(weight.shape)
