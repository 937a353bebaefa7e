"""What a run has to say, in the order in which it is told: from run.json to plain rows of text.

Every part of run.json may be missing; what depends on it is left out then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepress.benchmarks.number_format import (
    ABSENT,
    SAME,
    bytes_text,
    change_text,
    count_text,
    counted,
    metric_change,
    metric_text,
    ms_text,
    processor_text,
    seconds_text,
    share_text,
    significant,
    times_text,
)
from edgepress.benchmarks.records import ArtifactRecord, BenchmarkRow, RunRecord, StageRecord
from edgepress.benchmarks.records.rows import NOT_REAL, UNSEEN
from edgepress.benchmarks.records.run import StageTime
from edgepress.benchmarks.records.stages import Verified
from edgepress.benchmarks.report.plots import Point

Run = RunRecord


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
    """A table of text; the first column names the row.

    Attributes:
        links: The file behind each row's name, relative to the run's folder; empty for none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


def title_of(run: Run) -> str:
    """The model's file name."""
    return Path(run.model or "run").name


def metric_of(run: Run) -> str | None:
    """Name of the run's metric."""
    return run.before.metric or run.after.metric


def artifact_rows(run: Run) -> list[BenchmarkRow]:
    """The benchmark's rows of exported files; all rows where nothing is known of exports."""
    exported = {artifact.file for artifact in run.artifacts}
    rows = {(r.file, r.way): r for r in reversed(run.benchmark.rows)}
    kept = [r for r in reversed(rows.values()) if not exported or r.file in exported]
    return kept if exported else list(run.benchmark.rows)


def time_cell(row: BenchmarkRow | None) -> str:
    """A row's latency, marked where it is no real time."""
    if row is None or row.median_ms is None:
        return ABSENT
    return ms_text(row.median_ms) + ("" if row.timing_valid else f"\n{NOT_REAL}")


def _best(run: Run) -> ArtifactRecord | None:
    """The smallest published file, of those that real hardware timed where there are any."""
    timed = {row.file for row in run.benchmark.rows if row.timing_valid}
    verified = [a for a in run.artifacts if a.verified is None or a.verified.passed]
    ranked = verified or list(run.artifacts)
    ranked = [a for a in ranked if a.file in timed] or ranked
    return min(ranked, key=lambda a: a.bytes or 0, default=None)


def _timed_pair(run: Run, best: ArtifactRecord | None) -> tuple[BenchmarkRow | None, ...]:
    """The given model's row and the best file's: of one device, or the second alone."""
    if best is None:
        return None, None
    start = run.stages[0].file if run.stages else None
    own = run.benchmark.row_of(best.file)
    pair = run.benchmark.same_way(start, best.file)
    if pair is None or (own is not None and own.timing_valid and not pair[1].timing_valid):
        return None, own
    return pair


def cards(run: Run) -> list[Card]:
    """The figures at the top of the page."""
    before, after, best = run.before, run.after, _best(run)
    old, new = _timed_pair(run, best)
    start = run.stages[0] if run.stages else StageRecord()
    metric = metric_of(run)
    found = []
    if metric:
        value = new.value if new else None
        if value is None and best is not None and best.verified is not None:
            value = best.verified.value
        end = after.value if value is None else value
        title = f"{metric} on {before.split}" if before.split else metric
        change = metric_change(metric, before.value, end)
        found.append(
            Card(title, metric_text(metric, before.value), metric_text(metric, end), change)
        )
    size = best.bytes if best else None
    found += _card("file", bytes_text, start.raw_bytes, size, "smaller")
    found += _latency_card(run, old, new)
    found += _card("MACs", count_text, before.macs, after.macs, "fewer")
    return found + _card("parameters", count_text, before.params, after.params, "fewer")


def _card(
    title: str, text: Callable[[float | None], str], old: float | None, new: float | None, less: str
) -> list[Card]:
    if old is None and new is None:
        return []
    good = bool(old and new and new < 0.985 * old)
    return [Card(title, text(old), text(new), times_text(old, new, less), good)]


def _latency_card(run: Run, old: BenchmarkRow | None, new: BenchmarkRow | None) -> list[Card]:
    """Latency before and after, both of one device; a change within its noise is none."""
    if new is None:
        times = run.stage_times
        if not times or times[0].ms is None:
            return []
        mark = "" if times[0].real else NOT_REAL
        return [Card("latency", ms_text(times[0].ms), ABSENT, mark)]
    title = f"latency on {new.device}"
    change = run.benchmark.change(old, new)
    if not new.timing_valid:
        words, good = NOT_REAL, False
    elif change is None or old is None:
        words, good = "", False
    elif change.same:
        words, good = SAME, False
    else:
        words, good = times_text(1.0, 1.0 + change.share, "faster"), change.share < 0
    return [
        Card(title, ms_text(old.median_ms if old else None), ms_text(new.median_ms), words, good)
    ]


def best_note(run: Run) -> str:
    """Which file the cards speak of."""
    best = _best(run)
    old, row = _timed_pair(run, best)
    if best is None:
        return ""
    against = "against the unchanged model as float32 TensorFlow Lite"
    if row is None:
        return f"File: {best.name} {against}; its latency was not measured."
    runs = "inferences" if row.runs is None else counted(row.runs, "inference")
    basis = f"median of {runs}, {counted(row.threads, 'thread')}, "
    if old is None:
        basis = f"the unchanged model was not measured there; {basis}"
    mark = "" if row.timing_valid else f" ({NOT_REAL})"
    return f"File and latency: {best.name} {against}; {basis}on {row.device}{mark}."


def receipt(run: Run) -> Grid | None:
    """What each stage changed."""
    if not run.stages:
        return None
    metric = metric_of(run)
    rows = []
    last = StageRecord()
    for stage, time in zip(run.stages, run.stage_times, strict=True):
        rows.append(
            (
                stage.name,
                _with_change(bytes_text, stage.raw_bytes, last.raw_bytes),
                _with_change(bytes_text, stage.gzip_bytes, last.gzip_bytes),
                _with_change(count_text, stage.params, last.params),
                _with_change(count_text, stage.macs, last.macs),
                _stage_time(time),
                _metric_cell(metric, stage.value, last.value),
                seconds_text(stage.seconds),
            )
        )
        last = stage
    columns = ("stage", "file", "gzip", "parameters", "MACs", "latency", metric or "metric", "took")
    said = {
        s.name: [w for w in (s.note, s.time_note, *(u.line() for u in s.uncounted)) if w]
        for s in run.stages
    }
    notes = [f"{name}: {'; '.join(words)}" for name, words in said.items() if words]
    places = {f"latency: on {t.device}" for t in run.stage_times if t.ms is not None and t.device}
    return Grid(columns, tuple(rows), (*notes, *sorted(places)))


def _stage_time(time: StageTime) -> str:
    if time.ms is None:
        return ABSENT
    if not time.real:
        return f"{ms_text(time.ms)}\n{NOT_REAL}"
    if time.change is None:
        return ms_text(time.ms)
    change = SAME if time.change.same else change_text(1.0, 1.0 + time.change.share)
    return f"{ms_text(time.ms)}\n{change}"


def _with_change(
    text: Callable[[float | None], str], value: float | None, last: float | None
) -> str:
    change = change_text(last, value)
    return f"{text(value)}\n{change}" if change else str(text(value))


def _metric_cell(metric: str | None, value: float | None, last: float | None) -> str:
    change = metric_change(metric, last, value)
    return metric_text(metric, value) + (f"\n{change}" if change else "")


def artifacts(run: Run) -> Grid | None:
    """The exported files and their verification."""
    if not run.artifacts:
        return None
    several = len({row.device for row in run.benchmark.rows}) > 1
    rows = []
    for a in run.artifacts:
        verified, row = a.verified or Verified(), run.benchmark.row_of(a.file)
        where = f"\n{row.device}" if several and row else ""
        rows.append(
            (
                a.name,
                a.quantize,
                bytes_text(a.bytes),
                bytes_text(a.gzip_bytes),
                bytes_text(a.zstd_bytes),
                time_cell(row) + where,
                metric_text(verified.metric, verified.value),
                _or_absent(verified.agreement, share_text),
                _or_absent(verified.max_abs_error, significant),
                _verified_text(a.verified),
            )
        )
    columns = ("file", "precision", "bytes", "gzip", "zstd", "latency", "metric", "agreement",
               "largest error", "")  # fmt: skip
    skipped = tuple(f"{s.format} {s.quantize}: {s.reason}" for s in (*run.skipped, *run.rejected))
    return Grid(columns, tuple(rows), skipped, tuple(quote(a.path) for a in run.artifacts))


def _or_absent(value: float | None, text: Callable[[float], str]) -> str:
    return ABSENT if value is None else str(text(value))


def _verified_text(verified: Verified | None) -> str:
    if verified is None:
        return "not verified"
    return "✓ verified" if verified.passed else "✗ failed"


def latency(run: Run) -> Grid | None:
    """The benchmark's rows."""
    rows = run.benchmark.rows
    if not rows:
        return None
    several = len({r.device for r in rows}) > 1
    cells = []
    for r in rows:
        low, high = r.ci95_ms or (None, None)
        cells.append(
            (
                f"{r.name}\n{r.device}" if several else r.name,
                time_cell(r),
                f"{ms_text(low)} … {ms_text(high)}",
                ms_text(r.p90_ms),
                ms_text(r.p99_ms),
                ms_text(r.first_ms),
                ms_text(r.load_ms),
                bytes_text(r.peak_memory_bytes),
                bytes_text(r.arena_bytes),
                ABSENT if r.runs is None else str(r.runs),
            )
        )
    columns = ("file", "median", "95 % interval", "p90", "p99", "first", "load", "peak memory",
               "arena", "runs")  # fmt: skip
    return Grid(columns, tuple(cells), _benchmark_notes(run))


def _benchmark_notes(run: Run) -> tuple[str, ...]:
    benchmark = run.benchmark
    notes = []
    for device in benchmark.devices or (benchmark.device,):
        name = device.get("name", "local")
        if device.get("processor"):
            notes.append(f"{name}: {processor_text(device)}")
        if device.get("timing_valid") is False:
            notes.append(f"{name}: every time is {NOT_REAL}")
        if device.get("smallest_difference") is not None:
            share = significant(100 * device["smallest_difference"], 2)
            notes.append(f"{name}: differences below {share} % can't be seen in this run")
        notes += [f"{name}: {w}" for w in device.get("warnings") or ()]
    notes += benchmark.remarks
    notes += [f"{f.artifact or f.device}: {f.reason}" for f in benchmark.failures]
    return (*notes, *left_out_notes(run))


def left_out_notes(run: Run) -> tuple[str, ...]:
    """Files that weren't sent to a device, by the reason."""
    files: dict[str, list[str]] = {}
    for entry in run.benchmark.left_out:
        files.setdefault(entry.reason, []).append(entry.artifact)
    return tuple(f"not sent, since {why}: {', '.join(names)}" for why, names in files.items())


def comparisons(run: Run) -> Grid | None:
    """Ratios of the exported files' times."""
    names = {r.artifact: r.name for r in run.benchmark.rows}
    shown = {r.artifact for r in artifact_rows(run)}
    rows = tuple(
        (
            names.get(c.b, c.b),
            names.get(c.a, c.a),
            f"{c.ratio:.3f}",
            f"{c.ci95[0]:.3f} … {c.ci95[1]:.3f}",
            SAME if c.verdict == UNSEEN else c.verdict.replace("b is ", ""),
        )
        for c in run.benchmark.comparisons
        if c.a in shown and c.b in shown
    )
    columns = ("file", "against", "takes × the time", "95 % interval", "verdict")
    return Grid(columns, rows) if rows else None


def profile(profiles: Iterable[Mapping[str, Any]]) -> list[tuple[str, Grid]]:
    """Time by operator, where it was asked for."""
    found = []
    for entry in profiles:
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
    exported = {artifact.file for artifact in run.artifacts}
    start = run.stages[0].file if run.stages else None
    found = []
    for r in run.benchmark.rows:
        if r.value is None or not r.bytes:
            continue
        stage = r.file not in exported
        if stage and r.file != start:
            continue
        label = "start (float32)" if stage else Path(r.name).name
        found.append(Point(label, r.bytes, r.value, name, reference=stage))
    return list({(p.label, p.group): p for p in found}.values())


def operator_times(profiles: Iterable[Mapping[str, Any]]) -> list[tuple[str, Grid]]:
    """As `profile`, under titles."""
    return [(f"Time by operator: {name}", grid) for name, grid in profile(profiles)]
