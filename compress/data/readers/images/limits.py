"""Opening image files whose pixels are few enough to be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Pixels up to which Pillow itself takes an image for an honest one: 268 MB in three channels.
_MOST_PIXELS = 1024**3 // 4 // 3


@contextmanager
def open_image(path: str | Path) -> Iterator[Any]:
    """An image file, open but not decoded, whose pixels are few enough to be.

    Args:
        path: The file.

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


def _too_large(pixels: str) -> str:
    return f"it declares {pixels} pixels, above the limit of {_MOST_PIXELS:,}; scale it down"
