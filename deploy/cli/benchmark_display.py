"""A benchmark on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.benchmarks.number_format import time_mark, verdict_text
from edgepress.benchmarks.report.output_rows import TITLE, outputs_of_benchmark
from edgepress.deploy.cli import display
from edgepress.deploy.cli.gate import say_changes


def show_benchmark(document: dict[str, Any]) -> None:
    """Rows and comparisons as tables."""
    _show_rows(document)
    outputs = outputs_of_benchmark(document["rows"])
    if outputs:
        display.show_grid(TITLE, outputs)
    several = len(document["devices"]) > 1
    if document["comparisons"]:
        names = {row["artifact"]: row["label"] for row in document["rows"]}
        display.print_table(
            "Ratios of time",
            [*["device"] * several, "a", "b", "b / a", "95 % interval", "verdict"],
            [
                [*[c["device"]] * several, names[c["a"]], names[c["b"]], c["ratio"],
                 "{:.3f} to {:.3f}".format(*c["ci95"]), verdict_text(c["verdict"])]
                for c in document["comparisons"]
            ],
        )  # fmt: skip
    for profile in document["profiles"]:
        _show_profile(profile)
    say_changes(document)
    for device in document["devices"]:
        where = f" on {device['name']}" if several else ""
        if device.get("smallest_difference"):
            least = f"{device['smallest_difference']:.1%}"
            click.echo(f"smallest difference that this run can see{where}: {least}")
        for line in device.get("warnings", []):
            click.echo(f"note{where}: {line}")
    _show_notes(document["rows"])


def _show_rows(document: dict[str, Any]) -> None:
    """The figures of each row, and below them how they were got."""
    rows, several = document["rows"], len(document["devices"]) > 1
    metric = next((r["metric"] for r in rows if r["value"] is not None), None)
    energy = any("energy_mj" in row for row in rows)
    display.print_table(
        f"On {', '.join(d['name'] for d in document['devices'])}",
        ["file", "bytes", "gzip", "zstd", "median ms", "95 % interval", "p90", "p99", "per second",
         "first ms", "peak memory", "arena", *["mJ"] * energy, metric or "metric"],
        [
            [f"{row['label']} ({row['device']})" if several else row["label"], row["bytes"],
             row["gzip_bytes"], row["zstd_bytes"], _median(row),
             "{:.4g} to {:.4g}".format(*row["ci95_ms"]),
             row["p90_ms"], row["p99_ms"], row["throughput_per_s"], row["first_ms"],
             row["peak_memory_bytes"], row["arena_bytes"], *[row.get("energy_mj")] * energy,
             row["value"]]
            for row in rows
        ],
    )  # fmt: skip
    for way in dict.fromkeys(_way(row) for row in rows):
        holders = [row["label"] for row in rows if _way(row) == way]
        click.echo(f"{way}: {', '.join(dict.fromkeys(holders))}")


def _median(row: dict[str, Any]) -> Any:
    """A row's latency, marked where it is no real time."""
    mark = time_mark(row).partition(":")[0]
    return f"{row['median_ms']:.4g} ({mark})" if mark else row["median_ms"]


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
        f"{row['threads']} thread" + "s" * (row["threads"] > 1),
        f"{row['runs']} runs in {row['launches']} launch" + "es" * (row["launches"] > 1),
    ]
    return ", ".join(word for word in words if word)


def _show_profile(profile: dict[str, Any]) -> None:
    """The twenty operators that take the most time, against what the device can do at best."""
    best = profile["peak"]
    display.print_table(
        f"Time by operator on {profile['device']}: {Path(profile['artifact']).name}",
        ["output", "operator", "ms", "share", "MACs", "GFLOP/s", "of peak", "bound by"],
        [
            [op["name"][-60:], op["operator"], op["ms"], f"{op['share']:.1%}", op["macs"],
             op["gflops"], display.percent(op["of_peak"]), op["bound"]]
            for op in sorted(profile["operators"], key=lambda o: -o["ms"])[:20]
        ],
    )  # fmt: skip
    if best:
        click.echo(
            f"measured peak: {best['gflops']:.4g} GFLOP/s in float32 products,"
            f" {best['gbytes_per_s']:.4g} GB/s from memory"
        )
    for note in profile["notes"]:
        click.echo(f"note: {note}")


def _show_notes(rows: list[dict[str, Any]]) -> None:
    """What the rows have to say, each remark once."""
    told = [(row["label"], note) for row in rows for note in (*row["notes"], *_doubts(row))]
    for note in dict.fromkeys(note for _, note in told):
        holders = dict.fromkeys(label for label, said in told if said == note)
        where = "" if len(holders) == len(rows) else f" ({', '.join(holders)})"
        click.echo(f"note: {note}{where}")


def _doubts(row: dict[str, Any]) -> list[str]:
    """What keeps a row's times from being taken at their word."""
    if not row["timing_valid"]:
        return [f"times on {row['device']} are not those of real hardware: they are never ranked"]
    found = [] if row["steady"] else ["the latency was still falling when the warm-up was over"]
    if row["outliers"] > 0.05 * row["runs"]:
        found.append(f"{row['outliers']} of {row['runs']} runs are outliers; all of them count")
    return found
