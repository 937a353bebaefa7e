"""What a run has to say, in the order in which it is told: from run.json to plain rows of text.

Every part of run.json may be missing; what depends on it is left out then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.benchmarks.report.plots import Point
from edgepress.benchmarks.report.wording import (
    ABSENT,
    bytes_text,
    change_text,
    count_text,
    metric_change,
    metric_text,
    ms_text,
    seconds_text,
    significant,
    times_text,
)

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """One figure that matters: before, after, and what that means."""

    title: str
    before: str
    after: str
    change: str
    good: bool | None = None


@dataclass(frozen=True)
class Grid:
    """A table of text; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def title_of(run: Run) -> str:
    """The model's file name."""
    return Path(str(run.get("model") or "run")).name


def metric_of(run: Run) -> str | None:
    """Name of the run's metric."""
    name = (run.get("before") or {}).get("metric") or (run.get("after") or {}).get("metric")
    return str(name) if name else None


def rows_of(run: Run) -> list[Run]:
    """The benchmark's rows."""
    return list((run.get("benchmark") or {}).get("rows") or ())


def artifact_rows(run: Run) -> list[Run]:
    """The benchmark's rows of exported files; all rows where nothing is known of exports."""
    exported = {str(a["path"]) for a in run.get("artifacts") or ()}
    return [r for r in rows_of(run) if not exported or _path(r) in exported]


def _path(row: Run) -> str:
    return str(row.get("path") or row.get("artifact"))


def _best(run: Run) -> tuple[Run, Run]:
    """The smallest published file that was timed, and its row; empty where there is none."""
    rows = {_path(r): r for r in artifact_rows(run) if r.get("timing_valid", True)}
    timed = [a for a in run.get("artifacts") or () if str(a["path"]) in rows]
    passed = [a for a in timed if (a.get("verified") or {}).get("passed", True)] or timed
    if not passed:
        return {}, {}
    best = min(passed, key=lambda a: a.get("bytes") or 0)
    return best, rows[str(best["path"])]


def cards(run: Run) -> list[Card]:
    """The figures at the top of the page."""
    stages = list(run.get("stages") or ())
    before, after = run.get("before") or {}, run.get("after") or {}
    best, row = _best(run)
    start = stages[0] if stages else {}
    metric = metric_of(run)
    found = []
    if metric:
        value = row.get("value")
        if value is None:
            value = (best.get("verified") or {}).get("value")
        end = after.get("value") if value is None else value
        change = metric_change(metric, before.get("value"), end)
        split = before.get("split")
        title = f"{metric} on {split}" if split else metric
        found.append(
            Card(title, metric_text(metric, before.get("value")), metric_text(metric, end), change)
        )
    pairs = (
        ("file", bytes_text, start.get("raw_bytes"), best.get("bytes"), "smaller"),
        ("latency", ms_text, start.get("median_ms"), row.get("median_ms"), "faster"),
        ("MACs", count_text, before.get("macs"), after.get("macs"), "fewer"),
        ("parameters", count_text, before.get("params"), after.get("params"), "fewer"),
    )
    for title, text, old, new, less in pairs:
        if new is not None or old is not None:
            good = bool(old and new and new < 0.985 * old)
            found.append(Card(title, text(old), text(new), times_text(old, new, less), good))
    return found


def best_note(run: Run) -> str:
    """Which file the cards speak of."""
    best, row = _best(run)
    if not best:
        return ""
    name = Path(str(best["path"])).name
    threads = row.get("threads", 1)
    return (
        f"File and latency: {name} against the unchanged model as float32 TensorFlow Lite; "
        f"median of {row.get('runs')} inferences, {threads} thread{'s' if threads != 1 else ''}, "
        f"on {row.get('device', 'local')}."
    )


def receipt(run: Run) -> Grid | None:
    """What each stage brought."""
    stages = list(run.get("stages") or ())
    if not stages:
        return None
    metric = metric_of(run)
    rows = []
    for i, stage in enumerate(stages):
        last = stages[i - 1] if i else {}
        rows.append(
            (
                str(stage.get("name", "")),
                _with_change(bytes_text, stage.get("raw_bytes"), last.get("raw_bytes")),
                _with_change(bytes_text, stage.get("gzip_bytes"), last.get("gzip_bytes")),
                _with_change(count_text, stage.get("params"), last.get("params")),
                _with_change(count_text, stage.get("macs"), last.get("macs")),
                _with_change(ms_text, stage.get("median_ms"), last.get("median_ms")),
                _metric_cell(metric, stage.get("value"), last.get("value")),
                seconds_text(stage.get("seconds")),
            )
        )
    columns = ("stage", "file", "gzip", "parameters", "MACs", "latency", metric or "metric", "took")
    said = {s.get("name"): [s[k] for k in ("note", "time_note") if s.get(k)] for s in stages}
    for stage in stages:
        said[stage.get("name")] += [_uncounted_text(u) for u in stage.get("uncounted") or ()]
    notes = tuple(f"{name}: {'; '.join(words)}" for name, words in said.items() if words)
    return Grid(columns, tuple(rows), notes)


def _uncounted_text(found: dict[str, Any]) -> str:
    return f"the MACs of '{found['layer']}' are not all counted: {found['reason']}"


def _with_change(text: Any, value: float | None, last: float | None) -> str:
    change = change_text(last, value)
    return f"{text(value)}\n{change}" if change else str(text(value))


def _metric_cell(metric: str | None, value: float | None, last: float | None) -> str:
    change = metric_change(metric, last, value)
    return metric_text(metric, value) + (f"\n{change}" if change else "")


def artifacts(run: Run) -> Grid | None:
    """The exported files and their verification."""
    exported = list(run.get("artifacts") or ())
    if not exported:
        return None
    times = {_path(r): r for r in rows_of(run)}
    rows = []
    for a in exported:
        verified, row = a.get("verified") or {}, times.get(str(a["path"]), {})
        rows.append(
            (
                Path(str(a["path"])).name,
                str(a.get("quantize", "")),
                bytes_text(a.get("bytes")),
                bytes_text(a.get("gzip_bytes")),
                bytes_text(a.get("zstd_bytes")),
                ms_text(row.get("median_ms")),
                metric_text(verified.get("metric"), verified.get("value")),
                _or_absent(verified.get("agreement"), lambda v: f"{100 * v:.2f} %"),
                _or_absent(verified.get("max_abs_error"), significant),
                _verdict(a.get("verified")),
            )
        )
    columns = ("file", "precision", "bytes", "gzip", "zstd", "latency", "metric", "same decision",
               "largest error", "")  # fmt: skip
    skipped = tuple(
        f"{s['format']} {s['quantize']}: {s['reason']}"
        for s in (*(run.get("skipped") or ()), *(run.get("rejected") or ()))
    )
    return Grid(columns, tuple(rows), skipped)


def _or_absent(value: float | None, text: Any) -> str:
    return ABSENT if value is None else str(text(value))


def _verdict(verified: Run | None) -> str:
    if not verified:
        return "not verified"
    return "✓ verified" if verified.get("passed") else "✗ failed"


def latency(run: Run) -> Grid | None:
    """The benchmark's rows."""
    rows = rows_of(run)
    if not rows:
        return None
    several = len({r.get("device") for r in rows}) > 1
    cells = []
    for r in rows:
        low, high = r.get("ci95_ms") or [None, None]
        name = str(r.get("label") or r.get("artifact"))
        cells.append(
            (
                f"{name}\n{r.get('device')}" if several else name,
                ms_text(r.get("median_ms"))
                + ("" if r.get("timing_valid", True) else "\nemulated: not a real time"),
                f"{ms_text(low)} … {ms_text(high)}",
                ms_text(r.get("p90_ms")),
                ms_text(r.get("p99_ms")),
                ms_text(r.get("first_ms")),
                ms_text(r.get("load_ms")),
                bytes_text(r.get("peak_memory_bytes")),
                bytes_text(r.get("arena_bytes")),
                str(r.get("runs")),
            )
        )
    columns = ("file", "median", "95 % interval", "p90", "p99", "first", "load", "peak memory",
               "arena", "n")  # fmt: skip
    return Grid(columns, tuple(cells), _benchmark_notes(run))


def _benchmark_notes(run: Run) -> tuple[str, ...]:
    benchmark = run.get("benchmark") or {}
    notes = []
    devices = benchmark.get("devices") or [benchmark.get("device") or {}]
    for device in devices:
        name = device.get("name", "local")
        processor, cores = device.get("processor"), device.get("cores")
        if processor:
            notes.append(f"{name}: {processor}, {cores} cores, {device.get('system')}")
        if device.get("smallest_difference") is not None:
            share = significant(100 * device["smallest_difference"], 2)
            notes.append(f"{name}: differences below {share} % can't be seen in this run")
        notes += [f"{name}: {w}" for w in device.get("warnings") or ()]
    notes += [f"{f['artifact']}: {f['reason']}" for f in benchmark.get("failures") or ()]
    return tuple(notes)


def comparisons(run: Run) -> Grid | None:
    """Ratios of the exported files' times."""
    names = {str(r.get("artifact")): str(r.get("label") or r["artifact"]) for r in rows_of(run)}
    shown = {str(r.get("artifact")) for r in artifact_rows(run)}
    rows = tuple(
        (
            names.get(c["b"], c["b"]),
            names.get(c["a"], c["a"]),
            f"{c['ratio']:.3f}",
            f"{c['ci95'][0]:.3f} … {c['ci95'][1]:.3f}",
            str(c.get("verdict", "")).replace("b is ", ""),
        )
        for c in (run.get("benchmark") or {}).get("comparisons") or ()
        if c["a"] in shown and c["b"] in shown
    )
    columns = ("file", "against", "takes × the time", "95 % interval", "verdict")
    return Grid(columns, rows) if rows else None


def profile(run: Run) -> list[tuple[str, Grid]]:
    """Time by operator, where it was asked for."""
    found = []
    for entry in (run.get("benchmark") or {}).get("profiles") or ():
        rows = tuple(
            (
                str(op.get("name", "")),
                str(op.get("operator", "")),
                ms_text(op["ms"]),
                f"{100 * op['share']:.1f} %",
                count_text(op.get("macs")),
                _or_absent(op.get("gflops"), significant),
                _or_absent(op.get("of_peak"), lambda share: f"{100 * share:.0f} %"),
                str(op.get("bound") or ""),
            )
            for op in sorted(entry["operators"], key=lambda o: -o["ms"])[:20]
        )
        columns = ("output", "operator", "time", "share", "MACs", "GFLOP/s", "of peak", "bound by")
        where = f" on {entry['device']}" if entry.get("device") else ""
        found.append(
            (str(entry["artifact"]) + where, Grid(columns, rows, tuple(entry.get("notes") or ())))
        )
    return found


def points(run: Run, name: str) -> list[Point]:
    """Every file with a size and a metric."""
    found = []
    for r in rows_of(run):
        if r.get("value") is not None and r.get("bytes"):
            stage = _path(r) not in {str(a["path"]) for a in run.get("artifacts") or ()}
            if stage and not _is_first_stage(run, r):
                continue
            label = "start (float32)" if stage else _short(str(r.get("label") or r["artifact"]))
            found.append(Point(label, r["bytes"], r["value"], name, reference=stage))
    return list({(p.label, p.group): p for p in found}.values())


def _is_first_stage(run: Run, row: Run) -> bool:
    first: Run = next(iter(run.get("stages") or ()), {})
    return Path(_path(row)).parent.name == first.get("name")


def _short(label: str) -> str:
    return Path(label).name


def provenance(run: Run) -> list[tuple[str, str]]:
    """Where the figures come from."""
    machine, data = run.get("machine") or {}, run.get("data") or {}
    found = [
        ("model", run.get("model")),
        ("data", data.get("hash")),
        ("samples", ", ".join(f"{k} {v}" for k, v in (data.get("samples") or {}).items())),
        ("task", data.get("task")),
        ("seed", run.get("seed")),
        ("machine", ", ".join(str(v) for v in machine.values() if v)),
        ("versions", ", ".join(f"{k} {v}" for k, v in (run.get("versions") or {}).items())),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]
