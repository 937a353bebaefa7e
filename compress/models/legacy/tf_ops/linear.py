"""TensorFlow's sums of products and its convolutions by function, in terms of `keras.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.tf_ops.shapes import channels_first, inner_sizes

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor


def _array(value: Any) -> NDArray[Any] | Tensor:
    """A saved constant as an array; tensors stay as they are."""
    return np.asarray(value, np.float32) if isinstance(value, list) else value


def tensordot(x: Tensor, b: Tensor, axes: int | Sequence[int] | None) -> Tensor:
    """Sum the products along axes of both."""
    from keras import ops

    return ops.tensordot(x, _array(b), axes=axes)


def einsum(*_operands: Any) -> Tensor:
    """Refused: tf.keras stores only the equation, not the tensors.

    Raises:
        InputError: Always.
    """
    raise InputError(
        "tf.einsum stands in the file without its tensors, which tf.keras doesn't store",
        "build the model in a function, with EinsumDense or keras.ops.einsum, and give "
        "file.py:function",
    )


def matvec(a: Tensor, b: Tensor, transpose_a: bool = False, **flags: Any) -> Tensor:
    """Multiply matrices by vectors."""
    from keras import ops

    if any(flags.values()):
        raise InputError("matvec with an adjoint can't be converted", "use transpose_a")
    left, right = _array(a), _array(b)
    left = ops.swapaxes(left, -1, -2) if transpose_a else left
    return ops.squeeze(ops.matmul(left, ops.expand_dims(right, -1)), axis=-1)


def matrix_transpose(x: Tensor, conjugate: bool = False) -> Tensor:
    """Swap the last two axes."""
    from keras import ops

    return ops.swapaxes(x, -1, -2)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product along the last axis."""
    from keras import ops

    return ops.cross(_array(a), _array(b))


def _main_one(flags: dict[str, Any]) -> None:
    if flags.get("k") or flags.get("padding_value"):
        raise InputError("diagonals beside the main one can't be converted", "use k=0")


def diagonal(x: Tensor, **flags: Any) -> Tensor:
    """The diagonal of the last two axes."""
    from keras import ops

    _main_one(flags)
    return ops.diagonal(x, axis1=-2, axis2=-1)


def diagonal_matrix(x: Tensor, **flags: Any) -> Tensor:
    """Matrices whose diagonal is the last axis, and zero elsewhere."""
    from keras import ops

    _main_one(flags)
    return ops.expand_dims(x, -1) * np.eye(x.shape[-1], dtype=str(x.dtype))


def trace(x: Tensor) -> Tensor:
    """The sum of the diagonal of the last two axes."""
    from keras import ops

    return ops.sum(diagonal(x), axis=-1)


def band_part(x: Tensor, num_lower: int, num_upper: int) -> Tensor:
    """Keep a band around the diagonal of the last two axes; -1 keeps the whole half."""
    rows, columns = x.shape[-2:]
    if rows is None or columns is None:
        raise InputError("band_part of matrices of open size can't be converted", "fix the sizes")
    place = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    lower = (num_lower < 0) | (place >= -num_lower)
    upper = (num_upper < 0) | (place <= num_upper)
    return x * (lower & upper).astype(np.float32)


def batch_flatten(x: Tensor) -> Tensor:
    """All axes but the first in one."""
    from keras import ops

    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def convolution(name: str) -> Tensor:
    """The function of `keras.ops` of a name, called with TensorFlow's arguments.

    Args:
        name: "conv" or "depthwise_conv".
    """

    def call(
        x: Tensor, filters: Any = None, strides: Any = 1, padding: Any = None, **old: Any
    ) -> Tensor:
        from keras import ops

        kernel = filters if filters is not None else old.get("filter")
        strides = old.get("stride", strides)
        first, padding = _layout(padding, old)
        rank = len(x.shape) - 2
        rate = old.get("dilations") or old.get("rate") or 1
        return getattr(ops, name)(
            x,
            _array(kernel),
            strides=inner_sizes(strides, rank, first),
            padding=padding,
            data_format="channels_first" if first else "channels_last",
            dilation_rate=inner_sizes(rate, rank, first),
        )

    return call


def _layout(padding: Any, old: dict[str, Any]) -> tuple[bool, str]:
    """Whether the channels come first, and the padding's name.

    Raises:
        InputError: The padding is given in numbers.
    """
    if not isinstance(padding, str) or padding.lower() not in ("same", "valid"):
        raise InputError("a convolution with explicit padding can't be converted", "pad before it")
    return channels_first(old), padding.lower()
