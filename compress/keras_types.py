"""What Keras and TensorFlow hand around; for annotations only, under `TYPE_CHECKING`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import keras
    import tensorflow as tf
    from keras.src.ops.node import Node as Node
    from numpy.typing import NDArray

    # A model in memory, its file or folder, or `file.py:function` that makes it.
    ModelLike: TypeAlias = keras.Model | str | PathLike[str]
    # What layers and functions of `keras.ops` work on: symbolic while a graph is recorded.
    Tensor: TypeAlias = keras.KerasTensor | tf.Tensor
    # What a model is given or is to give: one for all, or one for each input or output.
    Values: TypeAlias = NDArray[Any] | tf.Tensor
    Nested: TypeAlias = Values | Mapping[str, Values] | Sequence[Values]
    # What samples count in a loss: alike for all outputs, or by output.
    SampleWeights: TypeAlias = tf.Tensor | dict[str, tf.Tensor]
