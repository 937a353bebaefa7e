"""What files gave on whole splits, for whoever asks for it again in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import finalize

from numpy.typing import NDArray

from edgepress.compress.data.dataset import Split

Given = Mapping[str, NDArray[Any]]
# Of all files on a split: maps of images aren't worth the memory.
_MOST_BYTES = 32_000_000

_KNOWN: dict[int, dict[str, Given]] = {}


def remember(split: Split, file: str, given: Given) -> None:
    """Keep what a file gave for all samples of a split, while there is the split.

    Where that is too much, what was kept first is forgotten.

    Args:
        split: The samples, all in stored order.
        file: The file's SHA-256.
        given: Outputs by the file's names, each (samples, …), of its runtime on this machine with
            one thread and no further options.
    """
    if id(split) not in _KNOWN:
        _KNOWN[id(split)] = {}
        finalize(split, _KNOWN.pop, id(split))
    known = _KNOWN[id(split)]
    known[file] = given
    while sum(map(_bytes, known.values())) > _MOST_BYTES:
        del known[next(iter(known))]


def recalled(split: Split, file: str) -> Given | None:
    """What `remember` was given for a file and a split; None where that is unknown."""
    return _KNOWN.get(id(split), {}).get(file)


def _bytes(given: Given) -> int:
    return sum(array.nbytes for array in given.values())
