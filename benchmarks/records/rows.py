"""The benchmark of a run: its rows, and how they are held against each other.

Figures are compared on one device run in one way only, and belong to files by their hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from edgepress.benchmarks.records.base import Record, Several
from edgepress.benchmarks.records.facts import DeviceDocument, OneDevice, ProfileDocument
from edgepress.compress.kernel.figures import OutputMetric

NOT_REAL = "estimated or emulated, not a real time"
UNSEEN = "no difference shown"
# Where a run could not tell its noise from an artifact against itself.
_PRESUMED_NOISE = 0.05

Way = tuple[str, int, int]


class BenchmarkRow(Record):
    """One file measured on one device in one way.

    Attributes:
        artifact: How the benchmark's comparisons call it.
        label: How people call it.
        path: The file.
        sha256: Hash of the file that was measured.
        device: Where.
        threads: Of the runtime.
        batch: Samples an inference.
        timing_valid: Whether the times are those of real hardware; never compared otherwise.
        median_ms: Its latency.
        ci95_ms: 95 % interval of that.
        value: The metric on `split`, where it was measured on the device.
        notes: Remarks, one line each.
    """

    artifact: str = ""
    label: str | None = None
    path: str | None = None
    sha256: str | None = None
    device: str = "local"
    threads: int = 1
    batch: int = 1
    timing_valid: bool = True
    estimated: bool = False
    bytes: int | None = None
    gzip_bytes: int | None = None
    runs: int | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    median_ms: float | None = None
    ci95_ms: tuple[float, float] | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    peak_memory_bytes: int | None = None
    arena_bytes: int | None = None
    metric: str | None = None
    split: str | None = None
    value: float | None = None
    metrics: Several[OutputMetric] = ()
    samples_ms: Several[float] = ()
    notes: Several[str] = ()

    @property
    def file(self) -> str:
        """What tells the file from others: its hash, or its path in records that have none."""
        return self.sha256 or self.path or self.artifact

    @property
    def way(self) -> Way:
        """What two rows must share to be compared."""
        return self.device, self.threads, self.batch

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.label or self.artifact


class Comparison(Record):
    """Two rows of one device: `b` takes `ratio` times as long as `a`."""

    a: str
    b: str
    ratio: float
    ci95: tuple[float, float]
    verdict: str = ""
    device: str | None = None


class Failed(Record):
    """What a device could not measure, or should not."""

    device: str = ""
    artifact: str = ""
    reason: str = ""


@dataclass(frozen=True)
class TimeChange:
    """How one file's time differs from another's.

    Attributes:
        share: Relative change, -0.5 is half the time.
        same: Whether it lies within the noise of the machine.
    """

    share: float
    same: bool


class BenchmarkRecord(Record):
    """A benchmark document.

    Attributes:
        device: The first device.
        devices: All of them, with the smallest difference that each could see.
        rows: Every file on every device.
        comparisons: Of each pair on one device.
        failures: What a device could not measure.
        left_out: Files that a device was not asked for, since it runs no such file.
        profiles: Time by operator.
    """

    device: OneDevice = Field(default_factory=dict)
    devices: Several[DeviceDocument] = ()
    rows: Several[BenchmarkRow] = ()
    comparisons: Several[Comparison] = ()
    failures: Several[Failed] = ()
    left_out: Several[Failed] = ()
    profiles: Several[ProfileDocument] = ()

    def rows_of(self, file: str | None) -> tuple[BenchmarkRow, ...]:
        """Every row of a file, by its hash."""
        return tuple(row for row in self.rows if file is not None and row.file == file)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What there is to say of single rows, each remark once."""
        return tuple(dict.fromkeys(f"{r.name}: {note}" for r in self.rows for note in r.notes))

    def row_of(self, file: str | None, way: Way | None = None) -> BenchmarkRow | None:
        """A file's row, of one way where that is given; real times before others."""
        found = [row for row in self.rows_of(file) if way is None or row.way == way]
        return min(found, key=lambda row: not row.timing_valid, default=None)

    def same_way(
        self, one: str | None, other: str | None
    ) -> tuple[BenchmarkRow, BenchmarkRow] | None:
        """Rows of two files that were measured alike; real times before others."""
        pairs = [(a, b) for a in self.rows_of(one) for b in self.rows_of(other) if a.way == b.way]
        return min(pairs, key=lambda pair: not pair[0].timing_valid, default=None)

    def noise(self, device: str) -> float:
        """The smallest relative difference of times that a device could see."""
        matching = [d for d in (*self.devices, self.device) if d.get("name", "local") == device]
        found = next((d.get("smallest_difference") for d in matching), None)
        return _PRESUMED_NOISE if found is None else float(found)

    def compared(self, a: BenchmarkRow, b: BenchmarkRow) -> Comparison | None:
        """How two rows of one device compared, the second as a multiple of the first."""
        for c in self.comparisons:
            if c.device not in (None, a.device):
                continue
            if (c.a, c.b) == (a.artifact, b.artifact):
                return c
            if (c.a, c.b) == (b.artifact, a.artifact):
                low, high = c.ci95
                turned = (1 / high if high else 0.0, 1 / low if low else 0.0)
                verdict = _TURNED.get(c.verdict, c.verdict)
                return Comparison(a=c.b, b=c.a, ratio=1 / c.ratio, ci95=turned, verdict=verdict)
        return None

    def change(self, before: BenchmarkRow | None, after: BenchmarkRow | None) -> TimeChange | None:
        """How the time changed from one row to another; None where they can't be compared.

        They can where both are real times of one device that ran them alike.
        """
        if before is None or after is None or before.way != after.way:
            return None
        if not (before.timing_valid and after.timing_valid):
            return None
        if not before.median_ms or after.median_ms is None:
            return None
        if before.file == after.file:
            return TimeChange(0.0, same=True)
        found = self.compared(before, after)
        share = (found.ratio if found else after.median_ms / before.median_ms) - 1
        unseen = found is not None and found.verdict == UNSEEN
        return TimeChange(share, same=unseen or abs(share) <= self.noise(after.device))

    def reference(self, files: Iterable[str | None]) -> tuple[BenchmarkRow | None, ...]:
        """Rows of several files in one way: that which most of them were measured in.

        Real times come before others; None stands for a file without a row of that way.
        """
        wanted = list(files)
        ways = list(dict.fromkeys(row.way for file in wanted for row in self.rows_of(file)))
        if not ways:
            return (None,) * len(wanted)

        def worth(way: Way) -> tuple[bool, int]:
            rows = [row for file in wanted if (row := self.row_of(file, way))]
            return any(row.timing_valid for row in rows), len(rows)

        best = max(ways, key=worth)
        return tuple(self.row_of(file, best) for file in wanted)


_TURNED = {"b is faster": "b is slower", "b is slower": "b is faster"}


# Where a benchmark document names files.
_NAMES = {
    "rows": ("artifact", "path"),
    "comparisons": ("a", "b"),
    **dict.fromkeys(("failures", "left_out", "profiles"), ("artifact",)),
}


def renamed(document: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A benchmark document with other names of files."""
    found = dict(document)
    for part, names in _NAMES.items():
        if found.get(part):
            found[part] = [
                {k: change(str(v)) if k in names else v for k, v in entry.items()}
                for entry in found[part]
            ]
    return found


def measured_inside(document: Mapping[str, Any], folder: Path) -> BenchmarkRecord:
    """A benchmark of files in a run's folder, which names them relative to it.

    Args:
        document: What `BenchmarkResult.to_json` gives, and `left_out`.
        folder: The folder.
    """
    return BenchmarkRecord.model_validate(
        renamed(document, lambda text: text.removeprefix(f"{folder}/"))
    )
