"""What one image file holds: how deep its values are, and those that Pillow would cut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.images.limits import open_image
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
Depth = Literal["8-bit", "16-bit", "32-bit", "float"]

# EXIF's tag of the orientation, and what it asks for; Pillow turns all that it reads itself.
_ORIENTATION = 0x0112
_TURNED: dict[int, Any] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
# ITU-R 601-2, by which Pillow makes grey of colours.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def depth_of(image: Image) -> Depth:
    """How deep the values of an opened image file are, as the file holds them.

    Raises:
        InputError: Pillow would read the upper 8 bits of them, and nothing else reads the format.
    """
    if image.mode == "F":
        return "float"
    if image.mode.startswith("I"):
        return "16-bit" if "16" in f"{image.mode}{_raw_mode(image)}" else "32-bit"
    if ";16" not in _raw_mode(image):
        return "8-bit"
    if image.format != "PNG":
        raise InputError(
            f"colours of 16 bits are read from PNG files, not from {image.format}",
            "save the images as PNG, or as arrays in a .npz file",
        )
    return "16-bit"


def _raw_mode(image: Image) -> str:
    """How the file stores pixels, such as RGB;16B."""
    tile = getattr(image, "tile", None)
    args = tile[0][3] if tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def deep_values(path: str) -> Array:
    """The values of an image of any depth, upright, as they are stored.

    Args:
        path: The file.

    Returns:
        (height, width, channels) float32; 1 channel is grey, 2 grey with alpha, 3 RGB, 4 RGBA.
    """
    from PIL import ImageOps

    with open_image(path) as file:
        if depth_of(file) == "16-bit" and not file.mode.startswith("I"):
            return _turned(_colours_of_png(path), file.getexif().get(_ORIENTATION, 1))
        image = ImageOps.exif_transpose(file)
        if image.mode in ("P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV"):
            image = image.convert("RGBA" if has_alpha(image) else "RGB")
        values = np.asarray(image).astype(np.float32)
    return values if values.ndim == 3 else values[..., None]


def _colours_of_png(path: str) -> Array:
    """Values of a PNG file of 16 bits a channel, of which Pillow reads the upper 8."""
    import tensorflow as tf

    image = tf.io.decode_png(Path(path).read_bytes(), dtype=tf.uint16)
    values: Array = image.numpy().astype(np.float32)
    return values


def _turned(values: Array, orientation: int) -> Array:
    turn = _TURNED.get(orientation)
    return values if turn is None else turn(values)


def with_channels(values: Array, channels: int) -> Array:
    """Values with another number of channels, as Pillow converts between L, RGB and RGBA.

    Args:
        values: As `deep_values` gives them.
        channels: 1, 3 or 4.
    """
    have = values.shape[-1]
    colours = values[..., : 1 if have < 3 else 3]
    if channels == 1:
        return colours if colours.shape[-1] == 1 else (colours @ _LUMA)[..., None]
    wide: Array = np.repeat(colours, 3, -1) if colours.shape[-1] == 1 else colours
    if channels == 3:
        return wide
    alpha = values[..., -1:] if have in (2, 4) else np.full_like(wide[..., :1], wide.max())
    return np.concatenate([wide, alpha], -1)


def palette_of(image: Image) -> Array:
    """(colours, 3) the colours of an opened image's palette; none where it has none."""
    return np.asarray(image.getpalette() or [], np.uint8).reshape(-1, 3)


def has_alpha(image: Image) -> bool:
    """Whether an opened image has an alpha channel, or a colour that is transparent."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
