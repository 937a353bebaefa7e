"""Which file of today is which file of an earlier benchmark.

A file is known by the name that the user gave it, else by its path. Exports name their files alike
(`model_int8.tflite`), so a bare file name decides only where it can mean one file alone.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepress.compress.errors import InputError

# What sets rows of one file apart in `artifact`.
_WAY = re.compile(r"( \(\d+ threads?\))?( \(batch \d+\))?$")


@dataclass(frozen=True)
class FileKey:
    """One measured file.

    Attributes:
        name: The name that the user gave it; empty without one.
        path: Where it lay, absolute where that is known.
    """

    name: str
    path: str

    @property
    def shown(self) -> str:
        """How messages call it."""
        return self.name or self.path

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's steps from its root, without those that lead nowhere."""
        steps = posixpath.normpath(self.path.replace("\\", "/")).split("/")
        return tuple(step for step in steps if step not in ("", ".", ".."))

    def ends_with(self, tail: str) -> bool:
        """Whether a path is the end of this one."""
        steps = FileKey("", tail).parts
        return bool(steps) and self.parts[-len(steps) :] == steps


def row_key(row: Mapping[str, Any], directory: str = "") -> FileKey:
    """The file of a row; rows of earlier versions tell it by `artifact` alone.

    Args:
        row: A row of a `benchmark` document.
        directory: Where the command ran, which paths are relative to; empty where unknown.
    """
    path = row.get("file") or _WAY.sub("", str(row["artifact"]))
    return FileKey(str(row.get("name") or ""), posixpath.join(directory, str(path)))


def directory_of(document: Mapping[str, Any]) -> str:
    """Where the command ran that wrote a document; empty where unknown."""
    return str(document.get("directory") or "")


def document_keys(document: Mapping[str, Any]) -> list[FileKey]:
    """Every file that a benchmark was asked for, those that failed included."""
    rows = [{"artifact": "", **f} for f in document.get("files") or ()]
    directory = directory_of(document)
    return list(dict.fromkeys(row_key(row, directory) for row in [*rows, *document["rows"]]))


def pair_files(
    earlier: Iterable[FileKey], today: Iterable[FileKey], where: str = "the earlier benchmark"
) -> dict[FileKey, FileKey]:
    """Today's files with their earlier selves; those without one are left out.

    By name first. Paths then pair where each is the other's only nearest: the one that shares most
    steps, counted from the file's name back, so that a checkout elsewhere is recognised.

    Args:
        earlier: Files of the earlier benchmark.
        today: Files of the present one.
        where: How an error calls the earlier benchmark.

    Raises:
        InputError: A file may be several earlier ones, or several may be one.
    """
    old, new = list(dict.fromkeys(earlier)), list(dict.fromkeys(today))
    pairs = _by_name(old, new)
    taken = set(pairs.values())
    # Two names say that two files are not the same, whatever their paths.
    there, here = _below_root(old), _below_root(new)
    fits = {
        (n, o): _likeness(n, o, len(old) > 1 and len(new) > 1 and there[o] == here[n])
        for n in new
        for o in old
        if n not in pairs and o not in taken and not (n.name and o.name)
    }
    # A file that is paired by its path still makes a bare file name ambiguous for the others.
    found = {
        n: near[0]
        for n in new
        if len(near := _nearest(n, old, fits, 0)) == 1 and _nearest(near[0], new, fits, 1) == [n]
    }
    for n in new:
        if n not in pairs and n not in found and not n.name:
            _refuse_ambiguous(n, (old, new), fits, set(found.values()), where)
    return pairs | found


def _by_name(old: Sequence[FileKey], new: Sequence[FileKey]) -> dict[FileKey, FileKey]:
    """Files whose name is an earlier file's name, or the end of one earlier path alone."""
    pairs = {}
    for n in new:
        if not n.name:
            continue
        same = [o for o in old if o.name == n.name]
        ends = [o for o in old if not o.name and o.ends_with(n.name)]
        if same or len(ends) == 1:
            pairs[n] = (same or ends)[0]
    return pairs


def _likeness(a: FileKey, b: FileKey, same_place: bool) -> int:
    """How alike two paths are: steps shared from their ends, then whether all are, then the place.

    Args:
        a: One file.
        b: Another.
        same_place: Whether both lie alike below the folder that holds all files.

    Returns:
        0 where not even the file's name is the same.
    """
    shared = 0
    for x, y in zip(reversed(a.parts), reversed(b.parts), strict=False):
        if x != y:
            break
        shared += 1
    return 4 * shared + 2 * (a.parts == b.parts) + same_place if shared else 0


def _below_root(keys: Sequence[FileKey]) -> dict[FileKey, tuple[str, ...]]:
    """Each path below the folder that holds them all."""
    columns = zip(*(key.parts[:-1] for key in keys), strict=False)
    root = len(list(itertools.takewhile(lambda steps: len(set(steps)) == 1, columns)))
    return {key: key.parts[root:] for key in keys}


def _nearest(
    key: FileKey, others: Sequence[FileKey], fits: Mapping[tuple[FileKey, FileKey], int], side: int
) -> list[FileKey]:
    """Those others that are most like a file; none where no file name is the same."""

    def likeness(other: FileKey) -> int:
        return fits.get((key, other) if side == 0 else (other, key), 0)

    most = max(map(likeness, others), default=0)
    return [o for o in others if most and likeness(o) == most]


def _refuse_ambiguous(
    key: FileKey,
    both: tuple[Sequence[FileKey], Sequence[FileKey]],
    fits: Mapping[tuple[FileKey, FileKey], int],
    paired: set[FileKey],
    where: str,
) -> None:
    """Refuse a file that may be any of several; one whose likes have their own pair is new."""
    old, new = both
    near = _nearest(key, old, fits, 0)
    free = [o for o in near if key in _nearest(o, new, fits, 1)]
    rivals = [n for o in free for n in _nearest(o, new, fits, 1)]
    if paired.intersection(near) or (len(free) < 2 and len(set(rivals)) < 2):
        return
    if len(free) > 1:
        ambiguity = f"'{key.shown}' may be {' or '.join(repr(o.shown) for o in free)} of {where}"
    else:
        several = " or ".join(repr(n.shown) for n in dict.fromkeys(rivals))
        ambiguity = f"'{free[0].shown}' of {where} may be {several}"
    raise InputError(
        f"{ambiguity}: their paths don't tell",
        f"say which with --name, once for each file, such as --name {free[0].shown}",
    )
