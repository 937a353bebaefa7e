"""The last measurement of a search: all files that could be on the front, alone and interleaved.

Trials run at different minutes, so their times decide only which files are measured once more; the
front follows from that measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow
from edgepress.benchmarks.records.rows import NOT_REAL
from edgepress.deploy.searching.fronts import Points, front
from edgepress.deploy.searching.objectives import ROW_FIELDS

# Objectives that differ from one measurement to the next.
MEASURED = ("latency", "memory", "energy")
# Files that are measured at most, beyond those of the trials' own front.
MOST_FILES = 24


@dataclass(frozen=True)
class Front:
    """What a search found best.

    Attributes:
        numbers: Of its trials.
        by: Which figures that follows from, in words.
        figures: Objectives of each trial that was measured once more.
    """

    numbers: list[int]
    by: str
    figures: Mapping[int, dict[str, Any]]


def measured_front(
    objectives: Sequence[str],
    signs: Sequence[float],
    points: Points,
    files: Mapping[int, str | None],
    measured: BenchmarkRecord,
) -> Front:
    """The front by the last measurement.

    Args:
        objectives: Their names.
        signs: What makes less of each better.
        points: Each accepted trial's objectives, times its signs.
        files: Hash of the file of each trial that was measured once more.
        measured: The measurement.
    """
    asked = [name for name in objectives if name in MEASURED]
    numbers = list(files)
    found = measured.reference(files.values())
    rows = {n: row for n, row in zip(numbers, found, strict=True) if row is not None}
    if not asked:
        return Front(front(points), "", _figures(rows, ()))
    rows = {
        n: row for n, row in rows.items() if all(_read(row, name) is not None for name in asked)
    }
    if not rows:
        return Front(
            front(points),
            f"the {' and '.join(asked)} of the trials, since the last measurement failed",
            {},
        )
    again = {
        n: [
            sign * (_read(row, name) or 0.0) if name in MEASURED else own
            for name, sign, own in zip(objectives, signs, points[n], strict=True)
        ]
        for n, row in rows.items()
    }
    return Front(
        front(again), _by(asked, next(iter(rows.values())), measured), _figures(rows, asked)
    )


def _read(row: BenchmarkRow, objective: str) -> float | None:
    value: float | None = getattr(row, ROW_FIELDS[objective], None)
    return value


def _figures(rows: Mapping[int, BenchmarkRow], asked: Sequence[str]) -> dict[int, dict[str, Any]]:
    return {
        n: {
            **{name: _read(row, name) for name in asked},
            "timing_valid": row.timing_valid,
            "measured_last": True,
        }
        for n, row in rows.items()
    }


def _by(asked: Sequence[str], row: BenchmarkRow, measured: BenchmarkRecord) -> str:
    """What the front follows from."""
    basis = f"{' and '.join(asked)}: the last measurement on {row.device}, interleaved"
    if not row.timing_valid:
        return f"{basis} ({NOT_REAL})"
    return f"{basis}; differences below {measured.noise(row.device):.1%} are noise"
