"""The page of a search: its trials, the front, and the last measurement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepress.benchmarks.number_format import ABSENT, counted, metric_text, ms_text, significant
from edgepress.benchmarks.records import RunRecord, read_run, validated
from edgepress.benchmarks.records.fit import FitRecord
from edgepress.benchmarks.records.rows import NOT_REAL
from edgepress.benchmarks.records.search import SearchRecord, TrialRecord
from edgepress.benchmarks.report import view_model
from edgepress.benchmarks.report.fit_tables import picks_grid
from edgepress.benchmarks.report.html import page
from edgepress.benchmarks.report.markdown import markdown_table, render_markdown
from edgepress.compress.kernel.files import atomic_output


def write_search_page(
    found: SearchRecord, runs: Sequence[tuple[str, RunRecord]], output: Path
) -> None:
    """Write a search's page.

    Args:
        found: The search.
        runs: Names and records of the trials that the page shows in full; may be empty.
        output: The file; an existing one is replaced.
    """
    text = page(runs, search_view(found))
    with atomic_output(output, force=True) as temporary:
        temporary.write_text(text, "utf-8", "backslashreplace")


def render_search(path: Path, document: Any, suffix: str) -> str | None:
    """The report of a search that was moved or is asked for again.

    Args:
        path: Its search.json.
        document: What that holds.
        suffix: ".html", ".md" or ".json".

    Returns:
        The text; None where it is no search, or there is no such report of one.
    """
    if not isinstance(document, dict) or not {"trials", "front", "objectives"} <= document.keys():
        return None
    found = validated(FitRecord if "minimise" in document else SearchRecord, document, f"'{path}'")
    runs = runs_to_show(found, path.parent)
    if suffix == ".html":
        return page(runs, search_view(found))
    if suffix == ".json":
        return json.dumps(document, indent=2) + "\n"
    return _markdown(found, runs) if suffix == ".md" else None


def runs_to_show(found: SearchRecord, folder: Path) -> list[tuple[str, RunRecord]]:
    """Names and records of the trials that a search's page shows in full.

    Args:
        found: The search.
        folder: Where it lies.

    Returns:
        The front; all trials that came to an end where there is no front.
    """
    shown = [t for t in found.trials if not found.front or t.number in found.front]
    records = [folder / t.folder / "run.json" for t in shown]
    return [(path.parent.name, read_run(path)) for path in records if path.is_file()]


def _markdown(found: SearchRecord, runs: Sequence[tuple[str, RunRecord]]) -> str:
    view = search_view(found)
    tables = [
        ("The front", view["front"]),
        ("The last measurement, interleaved", view["latency"]),
        ("All trials", view["trials"]),
    ]
    parts = [f"# {view['title']}", f"**{view['headline']}**"]
    parts += [f"## {title}\n\n{markdown_table(grid)}" for title, grid in tables if grid]
    return "\n\n".join([*parts, *([render_markdown(runs)] if runs else [])]) + "\n"


def search_view(found: SearchRecord) -> dict[str, Any]:
    """What the page shows above the runs."""
    measured = RunRecord(benchmark=found.benchmark)
    fitted = isinstance(found, FitRecord)
    front = picks_grid(found) if isinstance(found, FitRecord) else front_grid(found)
    return {
        "title": f"{'fit' if fitted else 'search'} over {counted(len(found.trials), 'recipe')}",
        "headline": found.headline,
        "good": bool(found.front),
        "front": front if found.front else None,
        "latency": view_model.latency(measured),
        "comparisons": view_model.comparisons(measured),
        "trials": trials_grid(found),
    }


def front_grid(found: SearchRecord) -> view_model.Grid:
    """The trials that none beats, with the figures that say so."""
    return _grid(found, [t for t in found.trials if t.number in found.front], (found.front_by,))


def trials_grid(found: SearchRecord) -> view_model.Grid:
    """Every trial, with what it gave or why it gave nothing."""
    base = _grid(found, found.trials, ())
    words = [
        t.reason or ("on the front" if t.number in found.front else "beaten") for t in found.trials
    ]
    rows = tuple((*row, word) for row, word in zip(base.rows, words, strict=True))
    return view_model.Grid((*base.columns, "outcome"), rows)


def _grid(
    found: SearchRecord, trials: Sequence[TrialRecord], notes: tuple[str, ...]
) -> view_model.Grid:
    columns = ("trial", "values", *found.objectives, f"{found.metric} ({found.split})")
    rows = tuple(
        (
            trial.folder,
            ", ".join(f"{k} {_short(v)}" for k, v in trial.values.items()),
            *(_figure(trial, name, found.metric) for name in found.objectives),
            metric_text(found.metric, trial.figures.get("value")),
        )
        for trial in trials
    )
    return view_model.Grid(columns, rows, tuple(note for note in notes if note))


def _figure(trial: TrialRecord, name: str, metric: str) -> str:
    """An objective of a trial; a latency says where it is no real or not the last time."""
    value = trial.figures.get(name)
    if value is None:
        return ABSENT
    if name == "metric":
        return metric_text(metric, value)
    if name != "latency":
        return significant(value, 4)
    marks = [] if trial.figures.get("timing_valid", True) else [NOT_REAL]
    if not trial.figures.get("measured_last"):
        ratio = trial.figures.get("latency_ratio")
        marks.append("in its trial" if ratio is None else f"in its trial: {ratio:.3f}× the source")
    return "\n".join((ms_text(value), *marks))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
