"""A whole benchmark against an earlier one: row by row, and what has no counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.gate.change import WORSE, Change
from edgepress.benchmarks.gate.figures import figure_changes
from edgepress.benchmarks.gate.identity import directory_of, document_keys, pair_files, row_key
from edgepress.benchmarks.gate.metric import metric_changes
from edgepress.benchmarks.gate.tolerances import Tolerances
from edgepress.benchmarks.number_format import counted
from edgepress.compress.errors import InputError

Document = Mapping[str, Any]
# What must be alike of two devices for their times to be compared.
_MACHINE = ("processor", "machine", "cores")


@dataclass(frozen=True)
class GateResult:
    """What became of every row.

    Attributes:
        changes: Of every figure that can be held against its earlier self, or should be.
        notes: Rows without a counterpart, one line each.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The changes for the worse."""
        return tuple(c for c in self.changes if c.verdict == WORSE)


def compare_documents(
    before: Document, after: Document, tolerances: Tolerances | None = None
) -> GateResult:
    """Every row that both documents have, held against its earlier self.

    Args:
        before: The earlier document.
        after: The present one.
        tolerances: What counts as the same.

    Returns:
        A change for each comparable figure. Rows are the same when file, device, threads, batch
        and what the runtime used are.

    Raises:
        InputError: A file may be several earlier ones, or the reverse.
    """
    allowed = tolerances or Tolerances()
    files = pair_files(document_keys(before), document_keys(after))
    there, here = directory_of(before), directory_of(after)
    known = {(row_key(row, there), _way(row)): row for row in before["rows"]}
    changes: list[Change] = []
    notes, held = [], set()
    for new in after["rows"]:
        place = files.get(row_key(new, here)), _way(new)
        old = known.get(place)  # type: ignore[arg-type]
        if old is None:
            why = "other options" if place[0] else "no such file"
            notes.append(f"nothing to compare {_shown(new)} with: {why} earlier")
            continue
        held.add(place)
        changes += _row_changes(old, new, allowed, before, after)
    notes += [
        f"{_shown(row)} was measured earlier and isn't today"
        for place, row in known.items()
        if place not in held
    ]
    return GateResult(tuple(changes), tuple(dict.fromkeys(notes)))


def _row_changes(
    old: Document, new: Document, allowed: Tolerances, before: Document, after: Document
) -> Iterator[Change]:
    devices = _device(before, old), _device(after, new)
    noise = max(float(d.get("smallest_difference") or 0.0) for d in devices)
    yield from metric_changes(old, new, allowed.max_drop)
    yield from figure_changes(old, new, allowed, noise, _moved(*devices))


def changes(
    before: Document, after: Document, tolerances: Tolerances | None = None
) -> list[Change]:
    """The changes of `compare_documents`.

    Raises:
        InputError: The documents have no row in common.
    """
    found = compare_documents(before, after, tolerances)
    if not found.changes:
        raise InputError("the earlier benchmark measured none of these files on these devices")
    return list(found.changes)


def _way(row: Document) -> tuple[Any, ...]:
    """How a row was run."""
    used = (*(row.get("delegates") or ()), *(row.get("providers") or ("CPUExecutionProvider",)))
    plain = row.get("xnnpack") is False
    return row.get("device"), row.get("threads"), row.get("batch"), plain, used


def _shown(row: Document) -> str:
    label, device = row.get("label") or row["artifact"], row.get("device") or "local"
    count = int(row.get("threads") or 1)
    way = f"{counted(count, 'thread')}, batch {row.get('batch') or 1}"
    return f"{label} on {device} ({way})"


def _device(document: Document, row: Document) -> Document:
    """The description of a row's device."""
    devices: Sequence[Document] = document.get("devices") or [document.get("device") or {}]
    named = [d for d in devices if d.get("name") == row.get("device")]
    return (named or [*devices, {}])[0]


def _moved(before: Document, after: Document) -> str:
    """What says that a name stands for another machine now."""
    for field in _MACHINE:
        old, new = before.get(field), after.get(field)
        if old and new and old != new:
            return f"another machine: {field} {old} earlier, {new} today"
    return ""
