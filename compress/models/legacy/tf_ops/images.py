"""TensorFlow's functions on images, in terms of `keras.ops`; images have the channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.tf_ops.shapes import inner_sizes

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_GRAY = (0.2989, 0.587, 0.114)


def resize(x: Tensor, size: Sequence[int], method: str = "bilinear", **flags: Any) -> Tensor:
    """`tf.image.resize`."""
    from keras import ops

    if any(flags.get(key) for key in ("preserve_aspect_ratio", "antialias")):
        raise InputError("tf.image.resize with antialias can't be converted", "use Resizing")
    method = str(method).lower()
    return ops.image.resize(x, size, interpolation=method, data_format="channels_last")


def resize_bilinear(x: Tensor, size: Sequence[int], **flags: Any) -> Tensor:
    """`tf.compat.v1.image.resize_bilinear`, on whichever of the three grids.

    Raises:
        InputError: An old grid is asked for and the image's size is open.
    """
    if flags.get("half_pixel_centers") and not flags.get("align_corners"):
        return resize(x, size)
    for axis, target in zip((1, 2), size, strict=True):
        x = _interpolated(x, axis, int(target), bool(flags.get("align_corners")))
    return x


def resize_nearest_neighbor(x: Tensor, size: Sequence[int], **flags: Any) -> Tensor:
    """`tf.compat.v1.image.resize_nearest_neighbor`, on whichever of the three grids."""
    from keras import ops

    if flags.get("half_pixel_centers") and not flags.get("align_corners"):
        return resize(x, size, method="nearest")
    for axis, target in zip((1, 2), size, strict=True):
        corners = bool(flags.get("align_corners"))
        places = _grid(x, axis, int(target), corners)
        nearest = np.floor(places + 0.5) if corners else np.floor(places)
        last = x.shape[axis] - 1
        x = ops.take(x, np.minimum(nearest, last).astype(np.int32), axis=axis)
    return x


def _grid(x: Tensor, axis: int, target: int, corners: bool) -> NDArray[Any]:
    """Where TensorFlow 1 looks in an axis of the image for each place of the result.

    Source: TensorFlow's CalculateResizeScale and LegacyScaler.
    """
    size = x.shape[axis]
    if size is None:
        raise InputError(
            "TensorFlow 1's image resizing can't be converted for images of open size",
            "use Resizing",
        )
    scale = (size - 1) / (target - 1) if corners and target > 1 else size / target
    return np.arange(target, dtype=np.float32) * np.float32(scale)


def _interpolated(x: Tensor, axis: int, target: int, corners: bool) -> Tensor:
    from keras import ops

    places = _grid(x, axis, target, corners)
    low = np.floor(places)
    share = (places - low).reshape([-1 if a == axis else 1 for a in range(4)])
    low = low.astype(np.int32)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    lower, upper = ops.take(x, low, axis=axis), ops.take(x, high, axis=axis)
    return lower + (upper - lower) * share


def grayscale(x: Tensor) -> Tensor:
    """Red, green and blue to luminance; the axis stays."""
    from keras import ops

    return ops.sum(x * np.asarray(_GRAY, np.float32), axis=-1, keepdims=True)


def central_crop(x: Tensor, central_fraction: float) -> Tensor:
    """The middle of an image of known size."""
    margins = [int((n - n * central_fraction) / 2) for n in _sizes(x)]
    rows, columns = (slice(m, n - m) for m, n in zip(margins, _sizes(x), strict=True))
    return x[:, rows, columns]


def crop_to_bounding_box(
    x: Tensor, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Tensor:
    """A window of an image."""
    rows = slice(offset_height, offset_height + target_height)
    return x[:, rows, offset_width : offset_width + target_width]


def crop_or_pad(x: Tensor, target_height: int, target_width: int) -> Tensor:
    """The middle of an image, with zeros around it where it is too small."""
    from keras import ops

    wanted = (target_height, target_width)
    cut = [max(n - w, 0) // 2 for n, w in zip(_sizes(x), wanted, strict=True)]
    rows, columns = (
        slice(c, c + min(n, w)) for c, n, w in zip(cut, _sizes(x), wanted, strict=True)
    )
    missing = [max(w - n, 0) for n, w in zip(_sizes(x), wanted, strict=True)]
    sides = [[m // 2, m - m // 2] for m in missing]
    return ops.pad(x[:, rows, columns], [[0, 0], *sides, [0, 0]])


def standardize(x: Tensor) -> Tensor:
    """Each image to a mean of 0 and a deviation of 1 (at least 1/√values)."""
    from keras import ops

    count = float(np.prod([*_sizes(x), x.shape[-1]]))
    axes = (-1, -2, -3)
    deviation = ops.maximum(ops.std(x, axis=axes, keepdims=True), 1 / np.sqrt(count))
    return (x - ops.mean(x, axis=axes, keepdims=True)) / deviation


def adjust_contrast(x: Tensor, contrast_factor: float) -> Tensor:
    """Scale the distance to each channel's mean."""
    from keras import ops

    mean = ops.mean(x, axis=(-3, -2), keepdims=True)
    return (x - mean) * contrast_factor + mean


def adjust_brightness(x: Tensor, delta: float) -> Tensor:
    """Add to every value."""
    return x + delta


def transposed(image: Tensor) -> Tensor:
    """Swap rows and columns."""
    from keras import ops

    return ops.swapaxes(image, -3, -2)


def rotated(image: Tensor, k: int = 1) -> Tensor:
    """Turn by 90 degrees, `k` times against the clock."""
    from keras import ops

    axes = (len(image.shape) - 3, len(image.shape) - 2)
    return ops.rot90(image, k=k, axes=axes)


def colours(name: str) -> Tensor:
    """Change the colour space of images with the channels last."""

    def call(images: Tensor) -> Tensor:
        from keras import ops

        return getattr(ops.image, name)(images, data_format="channels_last")

    return call


def extract_patches(
    x: Tensor, sizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], padding: str
) -> Tensor:
    """Windows of an image, each flat along the channels."""
    from keras import ops

    rate = inner_sizes(rates, 2, False)
    if rate[0] != rate[1]:
        raise InputError("patches with two different rates can't be converted", "use one rate")
    return ops.image.extract_patches(
        x,
        inner_sizes(sizes, 2, False),
        strides=inner_sizes(strides, 2, False),
        dilation_rate=rate[0],
        padding=padding.lower(),
        data_format="channels_last",
    )


def _sizes(x: Tensor) -> tuple[int, int]:
    """Rows and columns.

    Raises:
        InputError: They are open.
    """
    rows, columns = x.shape[-3:-1]
    if rows is None or columns is None:
        raise InputError("cropping images of open size can't be converted", "fix the size")
    return rows, columns
