"""Finding image files that can't be read before any work is done on the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError

# A whole JPEG file ends in this; some cameras write a little behind it.
_END_OF_JPEG, _BEHIND = b"\xff\xd9", 1024
# So much is decoded before any work: some ten seconds. What lies behind it is looked at alone.
_MOST_DECODED_BYTES = 256_000_000
_AT_ONCE = 4
# Pixels up to which Pillow itself takes an image for an honest one: 268 MB in three channels.
_MOST_PIXELS = 1024**3 // 4 // 3


@contextmanager
def open_image(path: str) -> Iterator[Any]:
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


def check_images(paths: Sequence[str], most_bytes: int = _MOST_DECODED_BYTES) -> None:
    """Decode each image once, where that takes bounded time; see that the others are whole.

    Args:
        paths: The files.
        most_bytes: Bytes of files that are decoded. Behind them checksums of PNG files and the end
            marks of JPEG files tell most damage; files of other formats are always decoded.

    Raises:
        InputError: One can't be read; says how many.
    """
    decoded, size = [], 0
    for path in paths:
        size += _size(path)
        decoded.append(size <= most_bytes)
    from PIL import Image

    with warnings.catch_warnings(), ThreadPoolExecutor(_AT_ONCE) as pool:
        # Pillow warns of what `open_image` refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        faults = list(pool.map(_fault, paths, decoded))
    bad = [(path, fault) for path, fault in zip(paths, faults, strict=True) if fault is not None]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InputError(
            f"'{bad[0][0]}' is not a readable image: {bad[0][1]}{more}",
            "remove them, or copy them again" if more else "remove it, or copy it again",
        )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0  # told of when it is opened


def _fault(path: str, decoded: bool) -> str | None:
    """What is wrong with an image file; None where it is whole."""
    try:
        with open_image(path) as image:
            if image.format == "PNG" and not decoded:
                image.verify()
            elif image.format != "JPEG" or decoded or not _ends(path):
                image.draft("L", (1, 1))  # JPEG files are decoded at an eighth of their size
                image.load()
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, ValueError, …
        return str(error).partition(f" '{path}'")[0] or type(error).__name__
    return None


def _ends(path: str) -> bool:
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _BEHIND))
        return _END_OF_JPEG in file.read()
