"""Tables of interchangeable parts: built-ins written as a dict literal, plus entry points."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from edgepress.compress.errors import InputError

T = TypeVar("T")


def near_names(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the near ones, or else what is known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"known: {listed}"


class Table(Mapping[str, T], Generic[T]):
    """A read-only table of named parts of one kind.

    Installed packages add entries through the entry-point group; a built-in name wins over an
    installed one. Entry points are loaded only when their name is asked for.

    Args:
        kind: What the entries are, for messages ("criterion", "schedule").
        entries: The built-ins.
        entry_point_group: Group that other packages may register in.
    """

    def __init__(self, kind: str, entries: Mapping[str, T], entry_point_group: str = "") -> None:
        self.kind = kind
        self._entries = dict(entries)
        self._group = entry_point_group

    def __getitem__(self, name: str) -> T:
        if name in self._entries:
            return self._entries[name]
        for point in self._installed():
            if point.name == name:
                part: T = point.load()
                return part
        raise InputError(f"unknown {self.kind} '{name}'", near_names(name, self))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or any(p.name == name for p in self._installed())

    def __iter__(self) -> Iterator[str]:
        installed = {point.name for point in self._installed()}
        return iter([*self._entries, *sorted(installed - self._entries.keys())])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _installed(self) -> tuple[EntryPoint, ...]:
        return _declared(self._group, tuple(sys.path)) if self._group else ()


@cache
def _declared(group: str, _path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entries of the packages on `sys.path`, kept while it stays the same.

    Each look reads what every installed package declares, some ten milliseconds.
    """
    return tuple(entry_points(group=group))
