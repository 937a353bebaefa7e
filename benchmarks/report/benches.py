"""What a benchmark has to say: from the document that `benchmark -o` writes to rows of text.

Every part of the document but its rows may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgepress.benchmarks.number_format import (
    ABSENT,
    bytes_text,
    counted,
    energy_text,
    metric_text,
    ms_text,
    pair_texts,
    processor_text,
    significant,
    time_mark,
    verdict_text,
)
from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow
from edgepress.benchmarks.report import output_rows, plots, view_model

Document = Mapping[str, Any]
_MARKS = {"regression": "✗ regression", "improvement": "✓ improvement"}


def as_run(document: Document) -> dict[str, Any]:
    """A benchmark as reports take runs."""
    return {"kind": "benchmark", "benchmark": document}


@dataclass(frozen=True)
class Bench:
    """A benchmark that belongs to no run.

    Attributes:
        document: What `benchmark -o` wrote.
    """

    document: Document

    @classmethod
    def of(cls, run: object) -> Bench | None:
        """The benchmark that `as_run` was given; None for anything else."""
        if isinstance(run, Mapping) and run.get("kind") == "benchmark":
            return cls(run["benchmark"])
        return None

    @cached_property
    def record(self) -> BenchmarkRecord:
        """Its rows, typed."""
        return BenchmarkRecord.model_validate(dict(self.document))

    def timed(self) -> dict[str, list[BenchmarkRow]]:
        """Rows whose single inferences can be drawn, by device: real times alone."""
        found: dict[str, list[BenchmarkRow]] = {}
        for row in self.record.rows:
            if row.samples_ms and row.timing_valid and row.median_ms and row.ci95_ms:
                found.setdefault(row.device, []).append(row)
        return found


def title(document: Document) -> str:
    """What was measured, and where."""
    count = len({_file(row) for row in document["rows"]})
    devices = ", ".join(str(d.get("name", "local")) for d in _devices(document))
    return f"Benchmark of {counted(count, 'file')} on {devices}"


def _file(row: Document) -> str:
    return str(row.get("file") or row["artifact"])


def _devices(document: Document) -> list[Document]:
    return list(document.get("devices") or [document.get("device") or {}])


def _label(row: Document) -> str:
    return str(row.get("label") or row["artifact"])


def grids(document: Document) -> list[tuple[str, view_model.Grid]]:
    """All tables with their titles, in the order in which they are read."""
    found = [
        ("Against the earlier result", changes(document)),
        ("Latency", latency(document)),
        ("Size, memory and accuracy", sizes(document)),
        (output_rows.TITLE, output_rows.outputs_of_benchmark(document["rows"])),
        ("Compared", comparisons(document)),
        ("What could not be measured", failures(document)),
        *view_model.operator_times(document.get("profiles") or ()),
    ]
    return [(name, grid) for name, grid in found if grid is not None and (grid.rows or grid.notes)]


def verdict(document: Document) -> tuple[bool, str] | None:
    """Whether the result holds against the earlier one, in words; None where none was named."""
    against = document.get("against")
    if not against and not document.get("changes"):
        return None
    changes = list(document.get("changes") or ())
    worse = [c for c in changes if c.get("verdict") == "regression"]
    where = (against or {}).get("run") or "the earlier result"
    if worse:
        names = ", ".join(f"{c.get('quantity')} of {c.get('artifact')}" for c in worse)
        return False, f"✗ {counted(len(worse), 'regression')} against {where}: {names}"
    if not changes:
        return True, "nothing to compare with yet"
    open_ones = sum(c.get("verdict") == "not compared" for c in changes)
    rest = f", {open_ones} not compared" if open_ones else ""
    held = counted(len(changes) - open_ones, "figure")
    return True, f"✓ no regression in {held} against {where}{rest}"


def changes(document: Document) -> view_model.Grid | None:
    """Every figure against its earlier self; what lies within the noise is "same"."""
    notes = tuple(str(n) for n in (document.get("against") or {}).get("notes") or ())
    rows = tuple(
        (
            f"{c.get('artifact')}\n{c.get('device')}",
            str(c.get("quantity")),
            *pair_texts(str(c.get("quantity") or ""), c.get("before"), c.get("after")),
            _MARKS.get(str(c.get("verdict")), str(c.get("verdict"))),
            str(c.get("reason") or ""),
        )
        for c in document.get("changes") or ()
    )
    columns = ("file", "figure", "before", "after", "verdict", "why")
    return view_model.Grid(columns, rows, notes) if rows or notes else None


def latency(document: Document) -> view_model.Grid:
    """The times of each row; those that are no real hardware's are marked."""
    cells = []
    for row in document["rows"]:
        low, high = row.get("ci95_ms") or [None, None]
        mark = time_mark(row)
        rate = row.get("throughput_per_s")
        times = [
            ms_text(row.get("median_ms")),
            f"{ms_text(low)} … {ms_text(high)}",
            ms_text(row.get("p90_ms")),
            ms_text(row.get("p99_ms")),
            ABSENT if rate is None else significant(rate),
            ms_text(row.get("first_ms")),
            ms_text(row.get("load_ms")),
        ]
        cells.append((_where(row), *(f"{t}\n{mark}" if mark else t for t in times), _runs(row)))
    columns = ("file", "median", "95 % interval", "p90", "p99", "per second", "first", "load",
               "runs")  # fmt: skip
    return view_model.Grid(columns, tuple(cells), _notes(document))


def _where(row: Document) -> str:
    threads, batch = int(row.get("threads") or 1), row.get("batch") or 1
    way = f"{counted(threads, 'thread')}, batch {batch}"
    return f"{_label(row)}\n{row.get('device') or 'local'}, {way}"


def _runs(row: Document) -> str:
    launches = int(row.get("launches") or 1)
    return f"{row.get('runs')}\nin {counted(launches, 'launch', 'launches')}"


def _notes(document: Document) -> tuple[str, ...]:
    """What the devices and the rows have to say."""
    notes = []
    for device in _devices(document):
        name, seen = device.get("name", "local"), device.get("smallest_difference")
        if device.get("processor"):
            notes.append(f"{name}: {processor_text(device)}")
        if device.get("timing_valid") is False:
            notes.append(f"{name}: times are not those of real hardware; they are never ranked")
        if seen is not None:
            notes.append(f"{name}: differences below {significant(100 * seen, 2)} % can't be seen")
        notes += [f"{name}: {w}" for w in device.get("warnings") or ()]
    notes += [f"{_label(row)}: {note}" for row in document["rows"] for note in row.get("notes", ())]
    return tuple(dict.fromkeys(notes))


def sizes(document: Document) -> view_model.Grid:
    """Bytes, memory, energy and metrics of each row."""
    rows = document["rows"]
    energy = any(row.get("energy_mj") is not None for row in rows)
    cells = [
        (
            _where(row),
            bytes_text(row.get("bytes")),
            bytes_text(row.get("gzip_bytes")),
            bytes_text(row.get("zstd_bytes")),
            bytes_text(row.get("arena_bytes")),
            bytes_text(row.get("peak_memory_bytes")),
            *([energy_text(row.get("energy_mj"))] if energy else []),
            _metric(row),
        )
        for row in rows
    ]
    columns = ("file", "bytes", "gzip", "zstd", "arena", "peak memory", *["energy"] * energy,
               "metric")  # fmt: skip
    return view_model.Grid(columns, tuple(cells))


def _metric(row: Document) -> str:
    """The one metric of a row and what it was taken on; outputs have a table of their own."""
    name = row.get("metric")
    if not name:
        return ABSENT
    return f"{metric_text(name, row.get('value'))}\n{name} on {row.get('split') or 'the data'}"


def comparisons(document: Document) -> view_model.Grid | None:
    """Ratios of times, taken side by side on one device."""
    names = {str(row["artifact"]): _label(row) for row in document["rows"]}
    several = len(_devices(document)) > 1
    rows = tuple(
        (
            names.get(c["b"], str(c["b"])) + (f"\n{c.get('device') or 'local'}" if several else ""),
            names.get(c["a"], str(c["a"])),
            f"{c['ratio']:.3f}",
            f"{c['ci95'][0]:.3f} … {c['ci95'][1]:.3f}",
            verdict_text(str(c.get("verdict", ""))).replace("b is ", ""),
        )
        for c in document.get("comparisons") or ()
    )
    columns = ("file", "against", "takes × the time", "95 % interval", "verdict")
    return view_model.Grid(columns, rows) if rows else None


def failures(document: Document) -> view_model.Grid | None:
    """Devices that could not be reached, and files that they could not run."""
    rows = tuple(
        (str(f.get("artifact") or "everything"), str(f.get("device")), f"✗ {f.get('reason')}")
        for f in document.get("failures") or ()
    )
    return view_model.Grid(("file", "device", "why"), rows) if rows else None


def points(document: Document, group: str) -> list[plots.Point]:
    """Every file with a size and a metric."""
    found = {}
    for row in document["rows"]:
        if row.get("value") is not None and row.get("bytes"):
            found[_label(row)] = plots.Point(_label(row), row["bytes"], row["value"], group)
    return list(found.values())


def metric_of(document: Document) -> str | None:
    """The metric that all rows have; None where they differ or have none."""
    names = {row.get("metric") for row in document["rows"] if row.get("value") is not None}
    return str(names.pop()) if len(names) == 1 else None
