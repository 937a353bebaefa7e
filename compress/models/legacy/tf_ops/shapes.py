"""TensorFlow's functions on shapes, indices and windows, in terms of `keras.ops`.

Arguments have TensorFlow's names; `tf_functions.FUNCTIONS` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_COMPUTED = "computed"


@dataclass(frozen=True)
class Size:
    """A shape, or one entry of it, while the graph is built.

    Args:
        value: The number, or numbers; None for an open one, `_COMPUTED` for one that is computed
            of an open one.
    """

    value: Any

    @staticmethod
    def combine(function: Callable[..., Any], left: Any, right: Any) -> Size:
        """Arithmetic on sizes; what depends on an open size is open."""
        values = [v.value if isinstance(v, Size) else v for v in (left, right)]
        arrays = np.broadcast_arrays(*(np.asarray(v, object) for v in values))
        entries = [
            Size._entry(function, pair) for pair in zip(*(a.flat for a in arrays), strict=True)
        ]
        return Size(tuple(entries) if arrays[0].ndim else entries[0])

    @staticmethod
    def _entry(function: Callable[..., Any], values: Sequence[int | str | None]) -> int | str:
        """One number of the result."""
        if any(v is None or v == _COMPUTED for v in values):
            return _COMPUTED
        return np.asarray(function(*values)).item()


def sizes(value: Any, x: Tensor | None = None) -> list[int]:
    """A shape argument with the one open entry as -1.

    Args:
        value: Numbers and sizes.
        x: The tensor that is reshaped: where its batch is its only open size, a -1 beside an open
            size (which is the batch then) is what the other sizes leave.

    Raises:
        InputError: More than one entry is open.
    """
    value = list(value.value) if isinstance(value, Size) else list(value)
    plain = [v.value if isinstance(v, Size) else v for v in value]
    if plain.count(None) == 1 and plain.count(-1) == 1 and _COMPUTED not in plain and x is not None:
        inner = x.shape[1:]
        if x.shape[0] is None and None not in inner:
            known = math.prod(v for v in plain if v not in (None, -1))
            plain[plain.index(-1)] = math.prod(inner) // known
    found = [-1 if v is None or v == _COMPUTED else int(v) for v in plain]
    if found.count(-1) > 1:
        raise InputError("a shape with two open sizes can't be converted", "fix one of them")
    return found


def number(value: Size) -> NDArray[Any]:
    """A size as a number, a shape as an array.

    Raises:
        InputError: The size is open.
    """
    entries = value.value if isinstance(value.value, tuple) else (value.value,)
    if any(v is None or v == _COMPUTED for v in entries):
        raise InputError("computing with an open size can't be converted", "fix the size")
    return np.asarray(value.value)


def slices(saved: Any) -> Any:
    """An index as saved: `{start, stop, step}` is a slice."""
    if isinstance(saved, dict):
        if saved.get("class_name") == "__ellipsis__":
            return Ellipsis
        return slice(saved.get("start"), saved.get("stop"), saved.get("step"))
    if isinstance(saved, list):
        return tuple(slices(item) for item in saved)
    return saved


def getitem(x: Tensor | Size, slice_spec: Any = None) -> Tensor | Size:
    """Index a tensor, or a shape."""
    index = slices(slice_spec)
    return Size(x.value[index]) if isinstance(x, Size) else index_tensor(x, index)


def index_tensor(x: Tensor, index: Any) -> Tensor:
    """Index a tensor; new axes are added behind the slicing, where Keras 3 can't mix them.

    Args:
        x: Tensor.
        index: Integer, slice, ellipsis, None, or a tuple of them.

    Returns:
        What TensorFlow's indexing gives.
    """
    from keras import ops

    parts = list(index) if isinstance(index, tuple) else [index]
    if None not in parts:
        return x[tuple(parts)]
    used = sum(1 for part in parts if part is not None and part is not Ellipsis)
    full: list[Any] = []
    for part in parts:
        full += [slice(None)] * (len(x.shape) - used) if part is Ellipsis else [part]
    x = x[tuple(part for part in full if part is not None)]
    place = 0
    for part in full:
        if part is None:
            x = ops.expand_dims(x, place)
        place += not isinstance(part, int)
    return x


def shape_of(x: Tensor, **_flags: Any) -> Size:
    """The shape of a tensor."""
    return Size(tuple(x.shape))


def concat(values: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Join tensors, or shapes."""
    from keras import ops

    if any(isinstance(value, Size) for value in values):
        return Size(tuple(n for v in values for n in (v.value if isinstance(v, Size) else v)))
    return ops.concatenate(values, axis=axis)


def stack(values: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Stack tensors on a new axis, or sizes to a shape."""
    from keras import ops

    if any(isinstance(value, Size) for value in values):
        return Size(tuple(v.value if isinstance(v, Size) else v for v in values))
    return ops.stack(values, axis=axis)


def reshape(x: Tensor, shape: Any) -> Tensor:
    """Reshape; one size may be open."""
    from keras import ops

    return ops.reshape(x, sizes(shape, x))


def transpose(x: Tensor, perm: Sequence[int] | None = None, conjugate: bool = False) -> Tensor:
    """Permute the axes."""
    from keras import ops

    return ops.transpose(x, axes=perm)


def squeeze(x: Tensor, axis: int | Sequence[int] | None = None, squeeze_dims: Any = None) -> Tensor:
    """Remove axes of size 1."""
    from keras import ops

    axis = squeeze_dims if axis is None else axis
    return ops.squeeze(x, axis=tuple(axis) if isinstance(axis, list) else axis)


def expand(x: Tensor, axis: int | None = None, dim: int | None = None) -> Tensor:
    """Insert an axis of size 1."""
    from keras import ops

    return ops.expand_dims(x, axis=axis if axis is not None else dim)


def split(x: Tensor, num_or_size_splits: Any, axis: int = 0, num: Any = None) -> list[Tensor]:
    """Split into equal parts, or into parts of given sizes."""
    from keras import ops

    if isinstance(num_or_size_splits, list):
        num_or_size_splits = np.cumsum(num_or_size_splits)[:-1].tolist()
    return ops.split(x, num_or_size_splits, axis=axis)


def unstack(x: Tensor | Size, num: Any = None, axis: int = 0) -> list[Tensor] | list[Size]:
    """Split along an axis and remove it."""
    from keras import ops

    if isinstance(x, Size):
        return [Size(entry) for entry in x.value]
    return ops.unstack(x, num, axis)


def pad(
    x: Tensor, paddings: Sequence[Sequence[int]], mode: str = "CONSTANT", constant_values: Any = 0
) -> Tensor:
    """Pad with a constant, or by reflection."""
    from keras import ops

    mode = mode.lower()
    value = {"constant_values": constant_values} if mode == "constant" else {}
    return ops.pad(x, paddings, mode=mode, **value)


def tile(x: Tensor, multiples: Any = None, n: Any = None) -> Tensor:
    """Repeat the whole tensor along each axis."""
    from keras import ops

    return ops.tile(x, multiples if multiples is not None else n)


def gather(
    x: Tensor, indices: Any, axis: int | Sequence[int] | None = None, **_flags: Any
) -> Tensor:
    """Take entries along an axis."""
    from keras import ops

    return ops.take(
        x, np.asarray(indices) if isinstance(indices, list) else indices, axis=axis or 0
    )


def broadcast(x: Tensor, shape: Any) -> Tensor:
    """Repeat along axes of size 1 up to a shape; open sizes are those of the tensor."""
    from keras import ops

    wanted = list(shape.value) if isinstance(shape, Size) else list(shape)
    entries = [v.value if isinstance(v, Size) else v for v in wanted]
    own = (*(1 for _ in entries[len(x.shape) :]), *x.shape)
    pairs = list(zip(entries, own, strict=True))
    if any(a == _COMPUTED or (a is None and b == 1) for a, b in pairs):
        raise InputError("broadcasting to an open size can't be converted", "add zeros instead")
    return ops.tile(x, [a // b if b == 1 and a not in (None, -1) else 1 for a, b in pairs])


def strided(
    x: Tensor,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int] | None = None,
    **masks: Any,
) -> Tensor:
    """Slice with a step along each axis.

    Raises:
        InputError: It has masks, which only TensorFlow's graphs have.
    """
    if any(masks.values()):
        raise InputError("tf.strided_slice with masks can't be converted", "index the tensor")
    steps = strides or [1] * len(begin)
    return x[tuple(slice(*part) for part in zip(begin, end, steps, strict=True))]


def repeat(x: Tensor, repeats: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Repeat entries along an axis."""
    from keras import ops

    return ops.repeat(x, repeats, axis=axis)


def dtype_name(dtype: str | None) -> str:
    """The name of a saved dtype ("float32", "<dtype: 'float32'>")."""
    text = dtype if isinstance(dtype, str) else str(np.dtype(dtype))
    return text.removeprefix("<dtype: '").removesuffix("'>")


def channels_first(flags: Mapping[str, Any]) -> bool:
    """Whether a TensorFlow function was called for channels that come first."""
    return str(flags.get("data_format") or "").startswith("NC")


def pool(name: str) -> Tensor:
    """A pooling function with TensorFlow's arguments."""

    def call(
        x: Tensor, ksize: Any, strides: Any = None, padding: str = "VALID", **flags: Any
    ) -> Tensor:
        from keras import ops

        first = channels_first(flags)
        rank = len(x.shape) - 2
        return getattr(ops, name)(
            x,
            inner_sizes(ksize, rank, first),
            strides=inner_sizes(ksize if strides is None else strides, rank, first),
            padding=padding.lower(),
            data_format="channels_first" if first else "channels_last",
        )

    return call


def inner_sizes(value: Any, rank: int, first: bool) -> tuple[int, ...]:
    """A window given as one number, one a side, or with its batch and channel entries."""
    if isinstance(value, int):
        return (value,) * rank
    if len(value) == 1:
        return tuple(value) * rank
    return tuple(value) if len(value) == rank else tuple(value[2:] if first else value[1:-1])


def depth_to_space(x: Tensor, block_size: int, data_format: str = "NHWC") -> Tensor:
    """Channels to square blocks of pixels (channels last)."""
    from keras import ops

    _, rows, columns, depth = x.shape
    left = depth // block_size**2
    x = ops.reshape(x, (-1, rows, columns, block_size, block_size, left))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows * block_size, columns * block_size, left))


def space_to_depth(x: Tensor, block_size: int, data_format: str = "NHWC") -> Tensor:
    """Square blocks of pixels to channels (channels last)."""
    from keras import ops

    _, rows, columns, depth = x.shape
    rows, columns = rows // block_size, columns // block_size
    x = ops.reshape(x, (-1, rows, block_size, columns, block_size, depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows, columns, depth * block_size**2))


def flip(axis: int) -> Tensor:
    """A function that mirrors an image along an axis."""

    def call(x: Tensor) -> Tensor:
        from keras import ops

        return ops.flip(x, axis=axis)

    return call


def cut(x: Tensor, begin: Any, size: Any) -> Tensor:
    """A part from `begin`, of a given size; -1 is the rest."""
    pairs = zip(begin, size, strict=True)
    return x[tuple(slice(b, None if n == -1 else b + n) for b, n in pairs)]


def reverse(
    x: Tensor, axis: int | Sequence[int] | None = None, axes: int | Sequence[int] | None = None
) -> Tensor:
    """Reverse the order along axes."""
    from keras import ops

    axis = axis if axis is not None else axes
    return ops.flip(x, axis=tuple(axis) if isinstance(axis, list) else axis)


def roll(x: Tensor, shift: Any, axis: int | Sequence[int] | None) -> Tensor:
    """Shift entries along an axis, around its end."""
    from keras import ops

    return ops.roll(x, shift, axis=axis)
