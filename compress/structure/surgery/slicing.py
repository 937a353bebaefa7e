"""The values of a weight at the positions that stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.structure.tracing.groups import Units

# Where TensorFlow's memory begins: it copies an array that begins elsewhere.
_ALIGNED = 64


def sliced(weight: ArrayLike, kept: list[Units]) -> NDArray[Any]:
    """A weight's values at the kept positions of each axis."""
    value = np.asarray(weight)
    for axis in _cut(value, kept):
        value = value.take(kept[axis], axis)
    return value


def _cut(value: NDArray[Any], kept: list[Units]) -> list[int]:
    """The axes on which not all positions stay."""
    return [axis for axis, places in enumerate(kept) if len(places) != value.shape[axis]]


def sliced_tensor(weight: NDArray[Any], kept: list[Units]) -> tf.Tensor:
    """The same as a tensor whose memory nothing else holds; `convert_to_tensor` copies twice.

    Args:
        weight: The weight's values.
        kept: For each axis the positions that stay; on at least one of them not all.
    """
    from tensorflow.python.eager.context import context
    from tensorflow.python.framework.ops import EagerTensor

    *others, last = _cut(weight, kept)
    for axis in others:
        weight = weight.take(kept[axis], axis)
    made = _empty(tuple(map(len, kept)), weight.dtype)
    # The positions do lie on the axis; NumPy would look in a copy of its own whether they do.
    weight.take(kept[last], last, out=made, mode="clip")
    return EagerTensor(made, context().device_name, None)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array without values that begins where TensorFlow's memory may."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + _ALIGNED, np.uint8)
    start = -room.ctypes.data % _ALIGNED
    return room[start : start + size].view(dtype).reshape(shape)
