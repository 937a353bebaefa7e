"""TensorFlow's lengths and normalisations, in terms of `keras.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor


def l2_normalize(
    x: Tensor, axis: int | Sequence[int] | None = None, epsilon: float = 1e-12, dim: Any = None
) -> Tensor:
    """Scale to a length of 1 along axes."""
    from keras import ops

    axis = dim if axis is None else axis
    axis = tuple(axis) if isinstance(axis, list) else axis
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(square, epsilon))


def norm(
    x: Tensor,
    ord: Any = "euclidean",
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The length along axes: the sum of magnitudes, or the root of the sum of squares."""
    from keras import ops

    axis = tuple(axis) if isinstance(axis, list) else axis
    if ord in ("euclidean", 2):
        return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))
    if ord == 1:
        return ops.sum(ops.abs(x), axis=axis, keepdims=keepdims)
    raise InputError(f"tf.norm with ord={ord} can't be converted", "use ord 1 or 2")


def clip_by_norm(x: Tensor, clip_norm: Any, axes: int | Sequence[int] | None = None) -> Tensor:
    """Shorten what is longer than a length along axes."""
    from keras import ops

    return x * clip_norm / ops.maximum(norm(x, axis=axes, keepdims=True), clip_norm)


def response(
    x: Tensor, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5
) -> Tensor:
    """Local response normalisation over the last axis.

    Source: Krizhevsky et al., "ImageNet Classification", 2012, as TensorFlow defines it.
    """
    from keras import ops

    rank, depth = len(x.shape), x.shape[-1]
    padded = ops.pad(ops.square(x), [[0, 0]] * (rank - 1) + [[depth_radius, depth_radius]])
    total = sum([padded[..., i : i + depth] for i in range(2 * depth_radius + 1)])
    return x / ops.power(bias + alpha * total, beta)


def euclidean(x: Tensor, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """The root of the sum of squares."""
    return norm(x, axis=axis, keepdims=keepdims)


def normalize(x: Tensor, ord: Any = "euclidean", axis: int | Sequence[int] | None = None) -> Tensor:
    """The tensor scaled to a length of 1, and its length."""
    size = norm(x, ord, axis, keepdims=True)
    return x / size, size
