"""Images with boxes, as any of the formats marks them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgepress.compress.data.readers.class_folders import SPLIT_FOLDERS
from edgepress.compress.errors import InputError

_SPLIT = re.compile(r"(?<![a-z])(training|train|validation|valid|val|testing|test)(?![a-z])")


class Box(NamedTuple):
    """One box.

    Attributes:
        corners: x_min, y_min, x_max, y_max in pixels, or as shares of the image.
        kind: Name of its class.
        crowd: Whether it marks what detections may lie on without being right or wrong.
    """

    corners: tuple[float, float, float, float]
    kind: str
    crowd: bool = False


@dataclass(frozen=True)
class Picture:
    """An image and its boxes.

    Attributes:
        path: The image.
        boxes: What is marked in it.
        size_px: (width, height) that the boxes are of; None where they are shares of it, or where
            it isn't said.
        shares: Whether corners are shares of the image.
    """

    path: Path
    boxes: tuple[Box, ...]
    size_px: tuple[int, int] | None = None
    shares: bool = False


@dataclass(frozen=True)
class Marking:
    """What a folder of images with boxes holds.

    Attributes:
        pictures: By split; "all" where it has none.
        names: Of the classes, in the order of their numbers.
        numbered: Whether the files number them; else their order is that of the alphabet.
        notes: What should be known of how it was read, one line each.
    """

    pictures: Mapping[str, Sequence[Picture]]
    names: tuple[str, ...]
    numbered: bool
    notes: tuple[str, ...] = ()


def split_named(name: str) -> str | None:
    """The split that a file's or folder's name speaks of, such as "train" of `train2017`."""
    found = _SPLIT.search(name.lower())
    return SPLIT_FOLDERS[found[1]] if found else None


def finite(values: Iterable[object], where: str) -> list[float]:
    """Numbers of a box.

    Raises:
        InputError: One isn't a finite number.
    """
    try:
        numbers = [float(value) for value in values]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{where}: a box is not four finite numbers", "correct or remove it")
    return numbers
