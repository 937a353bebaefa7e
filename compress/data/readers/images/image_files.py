"""What the image files of a folder hold, and which can't be read, before any work on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.data.readers.images.limits import fault_of, open_image
from edgepress.compress.data.readers.images.pixels import (
    Depth,
    deep_values,
    depth_of,
    has_alpha,
    palette_of,
)
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# A whole JPEG file ends in this; some cameras write a little behind it.
_END_OF_JPEG, _BEHIND = b"\xff\xd9", 1024
# So much is decoded before any work: some ten seconds. What lies behind it is looked at alone.
_MOST_DECODED_BYTES = 256_000_000
_AT_ONCE = 4
# Modes in which a PNG file's values are its pixels.
_PLAIN = ("L", "RGB", "RGBA")
_IN_COLOUR = ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")


Plain = tuple[str, int, int] | tuple[()]
_NOT_PLAIN: Plain = ()


@dataclass(frozen=True)
class ImageFacts:
    """What one file holds.

    Attributes:
        depth: Of its values.
        colour: Whether it is in colour.
        transparent: Whether pixels are transparent, as far as it was decoded.
        frames: How many images the file holds.
        low: The lowest value of one that is deeper than 8 bits.
        high: The highest value likewise.
        plain: Mode, width and height of a PNG file that every decoder reads alike; empty for
            others.
    """

    depth: Depth = "8-bit"
    colour: bool = False
    transparent: bool = False
    frames: int = 1
    low: float = 0.0
    high: float = 0.0
    plain: Plain = ()


@dataclass(frozen=True)
class Survey:
    """What the files of a folder hold, all together.

    Attributes:
        count: How many files there are.
        depths: A file of each depth.
        low: The lowest value of those that are deeper than 8 bits.
        high: The highest value likewise.
        colour: How many are in colour, and the first of them.
        transparent: Likewise of those with transparent pixels.
        frames: Likewise of those that hold several images.
        plain: What `ImageFacts.plain` is; empty where one has none, or some weren't decoded.
    """

    count: int
    depths: dict[Depth, str]
    low: float
    high: float
    colour: tuple[int, str]
    transparent: tuple[int, str]
    frames: tuple[int, str]
    plain: frozenset[tuple[str, int, int]] = frozenset()

    @property
    def deep(self) -> bool:
        """Whether values are deeper than 8 bits."""
        return set(self.depths) != {"8-bit"}


def check_images(paths: Sequence[str], most_bytes: int = _MOST_DECODED_BYTES) -> Survey:
    """Decode each image once, where that takes bounded time; see that the others are whole.

    Args:
        paths: The files.
        most_bytes: Bytes of files that are decoded. Behind them checksums of PNG files and the end
            marks of JPEG files tell most damage; files of other formats, and deep images, are
            always decoded.

    Returns:
        What they hold.

    Raises:
        InputError: One can't be read; says how many.
    """
    decoded, size = [], 0
    for path in paths:
        size += _size(path)
        decoded.append(size <= most_bytes)
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings(), ThreadPoolExecutor(_AT_ONCE) as pool:
        # Pillow warns of what `open_image` refuses.
        warnings.simplefilter("ignore", DecompressionBombWarning)
        found = list(pool.map(_facts, paths, decoded))
    refuse_unreadable(paths, found)
    facts = [one for one in found if isinstance(one, ImageFacts)]
    plain = {one.plain for one in facts} if all(decoded) else set()
    alike = frozenset(one for one in plain if one) if () not in plain else frozenset()
    return replace(_joined(paths, facts), plain=alike)


def refuse_unreadable(paths: Sequence[str], found: Sequence[object]) -> None:
    """Refuse files of which a fault was found: a text, where others have facts.

    Raises:
        InputError: Names the first and says how many there are.
    """
    bad = [(p, fault) for p, fault in zip(paths, found, strict=True) if isinstance(fault, str)]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InputError(
            f"'{bad[0][0]}' is not a readable image: {bad[0][1]}{more}",
            "remove them, or copy them again" if more else "remove it, or copy it again",
        )


def _joined(paths: Sequence[str], found: Sequence[ImageFacts]) -> Survey:
    def those(holds: Callable[[ImageFacts], bool]) -> tuple[int, str]:
        places = [place for place, facts in enumerate(found) if holds(facts)]
        return len(places), paths[places[0]] if places else ""

    deep = [facts for facts in found if facts.depth != "8-bit"]
    depths: dict[Depth, str] = {}
    for path, facts in zip(paths, found, strict=True):
        depths.setdefault(facts.depth, path)
    return Survey(
        len(paths),
        depths,
        min((facts.low for facts in deep), default=0.0),
        max((facts.high for facts in deep), default=255.0),
        those(lambda facts: facts.colour),
        those(lambda facts: facts.transparent),
        those(lambda facts: facts.frames > 1),
    )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0  # told of when it is opened


def _facts(path: str, decoded: bool) -> ImageFacts | str:
    """What an image file holds, or what is wrong with it."""
    try:
        with open_image(path) as image:
            depth, colour = depth_of(image), _in_colour(image)
            frames, alpha = getattr(image, "n_frames", 1), has_alpha(image)
            if depth != "8-bit":
                return _deep_facts(path, depth, colour, frames)
            transparent, plain = False, _NOT_PLAIN
            if image.format == "PNG" and not decoded:
                image.verify()
            elif image.format != "JPEG" or decoded or not _ends(path):
                image.draft("L", (1, 1))  # JPEG files are decoded at an eighth of their size
                image.load()
                transparent = alpha and _sees_through(image)
                plain = _plain(image)
    except InputError as error:
        return f"{error.message}: {error.hint}"
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, ValueError, …
        return fault_of(error, path)
    return ImageFacts(depth, colour, transparent, frames, plain=plain)


def _plain(image: Image) -> Plain:
    """Mode, width and height of a decoded PNG file without palette or orientation."""
    if image.format != "PNG" or image.mode not in _PLAIN or image.getexif():
        return _NOT_PLAIN
    return image.mode, image.width, image.height


def _deep_facts(path: str, depth: Depth, colour: bool, frames: int) -> ImageFacts | str:
    values = deep_values(path)
    if not np.isfinite(values).all():
        return "it holds values that are NaN or infinite"
    alpha = values[..., -1] if values.shape[-1] in (2, 4) else None
    transparent = alpha is not None and bool(alpha.min() < np.iinfo(np.uint16).max)
    return ImageFacts(depth, colour, transparent, frames, float(values.min()), float(values.max()))


def _in_colour(image: Image) -> bool:
    """Whether an opened file is in colour; a palette is where one of its colours isn't grey."""
    if image.palette is None:
        return image.mode in _IN_COLOUR
    colours = palette_of(image)
    return bool((colours != colours[:, :1]).any())


def _sees_through(image: Image) -> bool:
    low = image.convert("RGBA").getchannel("A").getextrema()[0]
    return isinstance(low, int | float) and low < 255


def _ends(path: str) -> bool:
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _BEHIND))
        return _END_OF_JPEG in file.read()
