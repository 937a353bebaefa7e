"""How wide the columns of a table have to be, and are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgepress.benchmarks.number_format import ABSENT

# Between columns.
GAP = 2
# Words and names above this length are broken where there is no room for them.
_LONGEST_WORD = 24
# Of a time that isn't real, where a cell has no room for more.
ESTIMATE = "(estimate)"
# A mark stays with the word behind it.
_MARKED = re.compile("([✓✗]) ")
# What may follow a figure in its cell.
_UNITS = frozenset(
    ("%", "points", "B", "kB", "MB", "GB", "k", "M", "G", "ms", "µs", "s", "min", "mJ", "dB", "…",
     "to", "x", "smaller", "faster", "fewer", "(emulated)", "(estimated)")
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, its head and its cells."""

    name: str
    head: str
    cells: list[str]

    @property
    def numeric(self) -> bool:
        """Whether all cells are figures."""
        return all(_is_number(cell) for cell in self.cells)

    @property
    def empty(self) -> bool:
        """Whether no cell says anything."""
        return all(cell in ("", ABSENT) for cell in self.cells)


def needed(columns: Sequence[Column]) -> int:
    """The least width of a table."""
    return sum(map(_least, columns)) + GAP * (len(columns) - 1)


def _least(column: Column) -> int:
    """The least width of a column: numbers aren't broken, text is at its blanks."""
    from rich.cells import cell_len

    if column.numeric:
        return most(column)
    texts = (_MARKED.sub("\\1\u00a0", text) for text in (column.head, *column.cells))
    words = [word for text in texts for word in re.split(r"[ \n]+", text)]
    return max((min(cell_len(word), _LONGEST_WORD) for word in words), default=0)


def most(column: Column) -> int:
    """The width of a column of which nothing is broken."""
    from rich.cells import cell_len

    lines = [line for text in (column.head, *column.cells) for line in text.split("\n")]
    return max(map(cell_len, lines), default=0)


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """The width of each column; what is to spare goes to those that would break into most lines.

    Rich's own division makes a column narrower than its least, and cuts the table off then.
    """
    found, wanted = [_least(column) for column in columns], list(map(most, columns))
    for _ in range(min(width - needed(columns), sum(wanted) - sum(found))):
        index = max(range(len(columns)), key=lambda i: wanted[i] / max(found[i], 1))
        found[index] += 1
    return found


def _is_number(text: str) -> bool:
    """Whether a cell is a figure with its unit, or an interval of two."""
    if text in (ABSENT, "same"):
        return True
    words = text.replace(ESTIMATE, "").split()
    figures = [re.match(r"[+\-−±]?\d", word) is not None for word in words]
    return (
        bool(words)
        and figures[0]
        and all(figure or word in _UNITS for figure, word in zip(figures, words, strict=True))
    )
