"""Finding image files that can't be read before any work is done on the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepress.compress.errors import InputError

# A whole JPEG file ends in this; some cameras write a little behind it.
_END_OF_JPEG, _BEHIND = b"\xff\xd9", 1024


def check_images(paths: Sequence[str]) -> None:
    """Look at the header of each image, and at whether the file is whole.

    Checksums and end marks tell that without decoding, for PNG and JPEG; others are decoded.

    Raises:
        InputError: One can't be read; says how many.
    """
    bad: list[tuple[str, str]] = []
    for path in paths:
        if (fault := _fault(path)) is not None:
            bad.append((path, fault))
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InputError(
            f"'{bad[0][0]}' is not a readable image: {bad[0][1]}{more}",
            "remove them, or copy them again" if more else "remove it, or copy it again",
        )


def _fault(path: str) -> str | None:
    """What is wrong with an image file; None where it is whole."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()
            elif image.format != "JPEG" or not _ends(path):
                image.load()
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, ValueError, …
        return str(error).partition(f" '{path}'")[0] or type(error).__name__
    return None


def _ends(path: str) -> bool:
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _BEHIND))
        return _END_OF_JPEG in file.read()
