"""Which split a file of records belongs to, by its name and its folder's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgepress.compress.data.readers.class_folders import SPLIT_FOLDERS
from edgepress.compress.errors import InputError

_WORDS = re.compile(r"[^a-z]+")


def files_by_split(root: Path, files: Iterable[Path]) -> dict[str, list[Path]]:
    """Files by split: "all" where none is named for one.

    Args:
        root: The folder.
        files: Files in it.

    Raises:
        InputError: Some are named for a split and others aren't.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(files):
        found.setdefault(split_of(path.relative_to(root)), []).append(path)
    if len(found) > 1 and "all" in found:
        raise InputError(
            f"'{found['all'][0]}' is named for no split, others in '{root}' are",
            "name all files for train, val or test, or none",
        )
    return found


def split_of(path: Path) -> str:
    """The split that a name stands for, such as `train-00000-of-00002.tfrecord`."""
    words = [word for part in reversed(path.parts) for word in _WORDS.split(part.lower())]
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "all")
