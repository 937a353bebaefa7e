"""What `benchmark -o` wrote, as it is checked before a report or a gate looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepress.benchmarks.records.base import Record, Several
from edgepress.benchmarks.records.facts import DeviceFacts, ProfileFacts
from edgepress.benchmarks.records.reading import validated
from edgepress.benchmarks.records.rows import BenchmarkRow, Comparison, Failed
from edgepress.compress.errors import InputError


class _Outcomes(Record):
    output: str | None = None
    metric: str | None = None
    value: float | None = None


class _Row(BenchmarkRow):
    artifact: str
    ci95_ms: tuple[float, float]
    zstd_bytes: int | None = None
    throughput_per_s: float | None = None
    launches: int | None = None
    delegates: Several[str] = ()
    providers: Several[str] = ()
    outcomes: Several[_Outcomes] = ()
    notes: tuple[str, ...] = ()


class _File(Record):
    name: str | None = None
    file: str | None = None


class _Change(Record):
    artifact: str
    device: str
    quantity: str
    verdict: str
    reason: str
    before: float | None = None
    after: float | None = None


class _Against(Record):
    run: str | None = None
    notes: Several[str] = ()


class _Written(Record):
    device: DeviceFacts | None = None
    devices: Several[DeviceFacts] = ()
    files: Several[_File] = ()
    rows: tuple[_Row, ...]
    comparisons: Several[Comparison] = ()
    failures: Several[Failed] = ()
    left_out: Several[Failed] = ()
    profiles: Several[ProfileFacts] = ()
    changes: Several[_Change] = ()
    against: _Against | None = None


def check_written(document: Mapping[str, Any], source: str) -> None:
    """Refuse a benchmark's JSON that was damaged or holds nothing.

    Args:
        document: What the file holds.
        source: What errors call it.

    Raises:
        InputError: A field can't be what it should, or nothing was measured.
    """
    found = validated(_Written, document, source)
    if not found.rows and not found.failures:
        raise InputError(f"{source} holds no row of a benchmark", "measure a file with benchmark")
