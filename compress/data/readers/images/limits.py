"""Opening image files whose pixels are few enough to be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgepress.compress.errors import InputError

# Pixels up to which Pillow itself takes an image for an honest one: 268 MB in three channels.
_MOST_PIXELS = 1024**3 // 4 // 3


@contextmanager
def open_image(path: str | Path | IO[bytes]) -> Iterator[Any]:
    """An image file, open but not decoded, whose pixels are few enough to be.

    Args:
        path: The file, or what stands for it.

    Yields:
        The `PIL.Image.Image`.

    Raises:
        ValueError: It declares too many pixels.
        Exception: It is no image: Pillow raises many kinds.
    """
    from PIL import Image

    try:
        opened = Image.open(path)
    except Image.DecompressionBombError as error:
        pixels = str(error).partition(" pixels")[0].rpartition("(")[2]
        raise ValueError(_too_large(pixels)) from None
    with opened as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(_too_large(f"{image.width} x {image.height}"))
        yield image


@contextmanager
def decoding(path: str | Path) -> Iterator[None]:
    """Turn whatever is raised while an image is decoded into one error.

    Raises:
        InputError: The file is no readable image.
    """
    try:
        yield
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, ValueError, …
        raise InputError(f"'{path}' is not a readable image: {error}") from error


def fault_of(error: Exception, path: str) -> str:
    """What is wrong with an image file, by what its decoding raised, without the file's name."""
    return str(error).partition(f" '{path}'")[0] or type(error).__name__


def _too_large(pixels: str) -> str:
    return f"it declares {pixels} pixels, above the limit of {_MOST_PIXELS:,}; scale it down"
