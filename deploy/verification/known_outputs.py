"""What files gave on whole splits, for whoever asks for it again in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgepress.compress.data.dataset import BesideSplits, Split

Given = Mapping[str, NDArray[Any]]
# Of all files on a split: maps of images aren't worth the memory.
_MOST_BYTES = 32_000_000

_KNOWN: BesideSplits[dict[str, Given]] = BesideSplits(dict)


def remember(split: Split, file: str, given: Given) -> None:
    """Keep what a file gave for all samples of a split, while there is the split.

    Where that is too much, what was kept first is forgotten.

    Args:
        split: The samples, all in stored order.
        file: The file's SHA-256.
        given: Outputs by the file's names, each (samples, …), of its runtime on this machine with
            one thread and no further options.
    """
    known = _KNOWN.of(split)
    known[file] = given
    while sum(map(_bytes, known.values())) > _MOST_BYTES:
        del known[next(iter(known))]


def recalled(split: Split, file: str) -> Given | None:
    """What `remember` was given for a file and a split; None where that is unknown."""
    return _KNOWN.of(split).get(file)


def _bytes(given: Given) -> int:
    return sum(array.nbytes for array in given.values())
