"""A benchmark on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepress.benchmarks.number_format import (
    ABSENT,
    bytes_text,
    counted,
    metric_text,
    ms_text,
    significant,
    time_mark,
)
from edgepress.benchmarks.report import benches
from edgepress.benchmarks.report.output_rows import TITLE, outputs_of_benchmark
from edgepress.benchmarks.report.view_model import profile
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.gate import say_changes
from edgepress.deploy.cli.tables.layouts import COMPARED, OPERATORS, OUTPUT_ROWS, ROWS
from edgepress.deploy.cli.tables.printing import show_grid, show_table


def show_benchmark(document: dict[str, Any]) -> None:
    """Rows and comparisons as tables, in the words of the report's page."""
    _show_rows(document)
    outputs = outputs_of_benchmark(document["rows"])
    if outputs:
        show_grid(OUTPUT_ROWS, TITLE, outputs)
    compared = benches.comparisons(document)
    if compared:
        show_grid(COMPARED, "Ratios of time", compared)
    several = len(document["devices"]) > 1
    for entry, (_, grid) in zip(document["profiles"], profile(document["profiles"]), strict=True):
        name = Path(entry["artifact"]).name
        show_grid(OPERATORS, f"Time by operator on {entry['device']}: {name}", grid)
    _say_peaks(document["profiles"])
    say_changes(document)
    for device in document["devices"]:
        where = f" on {device['name']}" if several else ""
        if device.get("smallest_difference"):
            least = significant(100 * device["smallest_difference"], 2)
            echo(f"smallest difference that this run can see{where}: {least} %")
        for line in device.get("warnings", []):
            echo(f"note{where}: {line}")
    _show_notes(document["rows"])


def _show_rows(document: dict[str, Any]) -> None:
    """The figures of each row, and below them how they were got."""
    rows, several = document["rows"], len(document["devices"]) > 1
    known = [(r["metric"], r.get("split")) for r in rows if r["value"] is not None]
    metrics = {f"{name} ({split})" if split else str(name) for name, split in known}
    show_table(
        ROWS,
        f"On {', '.join(d['name'] for d in document['devices'])}",
        [
            [f"{row['label']} ({row['device']})" if several else row["label"], *_cells(row)]
            for row in rows
        ],
        {"metric": metrics.pop()} if len(metrics) == 1 else {},
    )
    for way in dict.fromkeys(_way(row) for row in rows):
        holders = [row["label"] for row in rows if _way(row) == way]
        echo(f"{way}: {', '.join(dict.fromkeys(holders))}")


def _cells(row: dict[str, Any]) -> list[str]:
    """A row's figures in the columns of `ROWS`."""
    low, high = row["ci95_ms"]
    rate, energy = row["throughput_per_s"], row.get("energy_mj")
    return [
        _time(row, ms_text(row["median_ms"])),
        _time(row, f"{ms_text(low)} … {ms_text(high)}"),
        bytes_text(row["bytes"]),
        metric_text(row["metric"], row["value"]),
        _time(row, ms_text(row["p90_ms"])),
        _time(row, ms_text(row["p99_ms"])),
        _time(row, ABSENT if rate is None else significant(rate)),
        _time(row, ms_text(row["first_ms"])),
        _time(row, ms_text(row.get("load_ms"))),
        bytes_text(row["gzip_bytes"]),
        bytes_text(row["zstd_bytes"]),
        bytes_text(row["arena_bytes"]),
        bytes_text(row["peak_memory_bytes"]),
        ABSENT if energy is None else f"{significant(energy)} mJ",
        str(row["runs"]),
    ]


def _time(row: dict[str, Any], text: str) -> str:
    """A time, marked where it is no real one."""
    mark = time_mark(row).partition(":")[0]
    return f"{text} ({mark})" if mark and text != ABSENT else text


def _way(row: dict[str, Any]) -> str:
    """How a row was run, in a few words."""
    if not row["timing_valid"]:
        return f"{row['runtime']} ({row['method']})"
    delegates, providers = row["delegates"] or [], row["providers"] or []
    words = [
        row["runtime"],
        "" if row["xnnpack"] in (None, True) else "without XNNPACK",
        *delegates,
        *(p for p in providers if p != "CPUExecutionProvider"),
        counted(row["threads"], "thread"),
        f"{counted(row['runs'], 'run')} in {counted(row['launches'], 'launch', 'launches')}",
    ]
    return ", ".join(word for word in words if word)


def _say_peaks(profiles: list[dict[str, Any]]) -> None:
    """What the devices of profiles can do at best."""
    for entry in profiles:
        best = entry["peak"]
        if best:
            echo(
                f"measured peak of {entry['device']}: {significant(best['gflops'])} GFLOP/s in"
                f" float32 products, {significant(best['gbytes_per_s'])} GB/s from memory"
            )


def _show_notes(rows: list[dict[str, Any]]) -> None:
    """What the rows have to say, each remark once."""
    all_notes = [(row["label"], note) for row in rows for note in (*row["notes"], *_doubts(row))]
    for note in dict.fromkeys(note for _, note in all_notes):
        holders = dict.fromkeys(label for label, said in all_notes if said == note)
        where = "" if len(holders) == len(rows) else f" ({', '.join(holders)})"
        echo(f"note: {note}{where}")


def _doubts(row: dict[str, Any]) -> list[str]:
    """What keeps a row's times from being taken at their word."""
    if not row["timing_valid"]:
        return [f"times on {row['device']} are not those of real hardware: they are never ranked"]
    found = [] if row["steady"] else ["the latency was still falling when the warm-up was over"]
    if row["outliers"] > 0.05 * row["runs"]:
        found.append(
            f"{row['outliers']} of {counted(row['runs'], 'run')} are outliers; all of them count"
        )
    return found
