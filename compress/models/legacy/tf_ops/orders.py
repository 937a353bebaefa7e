"""TensorFlow's orders, counts and running sums, in terms of `keras.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.tf_ops import shapes as shapes

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor


def arg(name: str) -> Tensor:
    """Where the largest or smallest value along an axis is."""

    def call(
        x: Tensor,
        axis: int | Sequence[int] | None = None,
        output_type: Any = None,
        dimension: Any = None,
    ) -> Tensor:
        from keras import ops

        axis = dimension if axis is None else axis
        return ops.cast(getattr(ops, name)(x, axis=0 if axis is None else axis), "int64")

    return call


def cumulative(name: str) -> Tensor:
    """Running sums or products, also from the end and without the entry itself."""

    def call(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
        from keras import ops

        x = ops.flip(x, axis=axis) if reverse else x
        if exclusive:
            start = (ops.zeros_like if name == "cumsum" else ops.ones_like)(x)
            first, last = [[slice(None)] * len(x.shape) for _ in range(2)]
            first[axis], last[axis] = slice(0, 1), slice(0, -1)
            x = ops.concatenate([start[tuple(first)], x[tuple(last)]], axis=axis)
        found = getattr(ops, name)(x, axis=axis)
        return ops.flip(found, axis=axis) if reverse else found

    return call


def sort(x: Tensor, axis: int = -1, direction: str = "ASCENDING") -> Tensor:
    """Values in order along an axis."""
    from keras import ops

    return ops.sort(x, axis=axis) if direction == "ASCENDING" else -ops.sort(-x, axis=axis)


def argsort(x: Tensor, axis: int = -1, direction: str = "ASCENDING", **_stable: Any) -> Tensor:
    """The places of values in their order along an axis."""
    from keras import ops

    return ops.cast(ops.argsort(x if direction == "ASCENDING" else -x, axis=axis), "int32")


def top_k(x: Tensor, k: int = 1, sorted: bool = True) -> Tensor:
    """The largest values of the last axis and their places."""
    from keras import ops

    return ops.top_k(x, k, sorted=sorted)


def one_hot(
    x: Tensor, depth: int | None = None, num_classes: int | None = None, **rest: Any
) -> Tensor:
    """A new last axis that is 1 at the given place."""
    from keras import ops

    if any(value not in (None, 0, 1, -1, "float32") for value in rest.values()):
        raise InputError("tf.one_hot with own values can't be converted", "multiply instead")
    return ops.one_hot(x, depth if depth is not None else num_classes)


def count_nonzero(
    x: Tensor,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    dtype: str | None = "int64",
) -> Tensor:
    """How many values along axes aren't zero."""
    from keras import ops

    axis = tuple(axis) if isinstance(axis, list) else axis
    found = ops.sum(ops.cast(ops.not_equal(x, 0), "int32"), axis=axis, keepdims=keepdims)
    return ops.cast(found, shapes.dtype_name(dtype))
