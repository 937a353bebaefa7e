"""One self-contained page: tables, and pictures that follow the page's colours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.glossary import GLOSSARY, term_of
from edgepress.benchmarks.number_format import bytes_text, metric_text
from edgepress.benchmarks.records import RunRecord, run_record
from edgepress.benchmarks.report import benches, details, output_rows, plots, view_model
from edgepress.benchmarks.report.benches import Bench
from edgepress.benchmarks.report.classes import classes

if TYPE_CHECKING:
    from markupsafe import Markup

_FOLDER = Path(__file__).parent


def render_html(runs: Sequence[tuple[str, Mapping[str, Any] | RunRecord]]) -> str:
    """The page of one or more runs.

    Args:
        runs: Names of the runs and what their run.json holds, or `benches.as_run` of a benchmark.

    Returns:
        An HTML document without outside references.
    """
    return page([(name, opened(name, values)) for name, values in runs])


def opened(name: str, values: Mapping[str, Any] | RunRecord) -> RunRecord | Bench:
    """What a report is about: a run, or a benchmark alone."""
    return Bench.of(values) or run_record(values, f"run '{name}'")


def page(
    runs: Sequence[tuple[str, RunRecord | Bench]], search: Mapping[str, Any] | None = None
) -> str:
    """The page of runs, and of the search that they were trials of.

    Args:
        runs: Names and records.
        search: What `search_view` gives, or None.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(explain=explain, anchor=anchor, contents=contents)
    several = len(runs) > 1
    metric = next(filter(None, (_metric(run) for _, run in runs)), None)
    first = title_of(runs[0][1]) if runs else ""
    text: str = environment.get_template("page.html").render(
        title=search["title"] if search else f"{len(runs)} runs compared" if several else first,
        search=search,
        several=several,
        date=_date(runs),
        style=Markup((_FOLDER / "page.css").read_text("utf-8")),
        script=Markup((_FOLDER / "page.js").read_text("utf-8")),
        words=_words(runs),
        overview=_overview(runs) if several else None,
        overview_plot=_accuracy(runs, metric) if several else None,
        runs=[
            {"id": f"run-{i}", **(_bench(n, r) if isinstance(r, Bench) else _view(n, r))}
            for i, (n, r) in enumerate(runs, 1)
        ],
        version=next((r.edgepress or "" for _, r in runs if isinstance(r, RunRecord)), ""),
    )
    return text


def explain(column: str) -> str:
    """What the glossary says of the head of a column; empty where it says nothing."""
    name = term_of(column)
    return GLOSSARY[name].text if name else ""


def anchor(run: str, title: str) -> str:
    """The id of a section, by its run's id and its title."""
    return f"{run}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}"


def contents(body: str) -> list[tuple[str, Any]]:
    """Ids and titles of the sections of a page, in their order."""
    from markupsafe import Markup

    found = re.findall(r'<h[23](?: class="run")? id="([^"]+)">(.*?)</h', body)
    return [(name, Markup(text)) for name, text in found]


def _words(runs: Sequence[tuple[str, RunRecord | Bench]]) -> list[tuple[str, str]]:
    """The terms of the page's columns; empty where there are no tables."""
    grids = [
        grid
        for _, run in runs
        for grid in (
            [g for _, g in benches.grids(run.document)]
            if isinstance(run, Bench)
            else [view_model.receipt(run), view_model.artifacts(run), view_model.latency(run)]
        )
    ]
    columns = {column for grid in grids if grid for column in grid.columns}
    names = {name for column in columns if (name := term_of(column))}
    return [(name, GLOSSARY[name].text) for name in sorted(names)]


def _date(runs: Sequence[tuple[str, RunRecord | Bench]]) -> str:
    """When the one run or benchmark was made, as people read it; empty where that isn't known."""
    dates = [r.document.get("date") if isinstance(r, Bench) else r.date for _, r in runs]
    date = str(dates[0]) if len(dates) == 1 and dates[0] else ""
    return date.replace("T", " ").replace("+00:00", " UTC")


def _overview(runs: Sequence[tuple[str, RunRecord | Bench]]) -> view_model.Grid:
    rows = []
    for name, run in runs:
        measured = run.record.rows if isinstance(run, Bench) else view_model.artifact_rows(run)
        for row in measured:
            rows.append(
                (
                    f"{row.name}\n{name}",
                    bytes_text(row.bytes),
                    bytes_text(row.gzip_bytes),
                    f"{view_model.time_cell(row)}\n{row.device}",
                    metric_text(row.metric, row.value),
                )
            )
    return view_model.Grid(("file", "bytes", "gzip", "latency", "metric"), tuple(rows))


def _accuracy(runs: Sequence[tuple[str, RunRecord | Bench]], metric: str | None) -> Markup | str:
    points = [point for name, run in runs if _metric(run) == metric for point in _points(run, name)]
    if not metric or len(points) < 2:
        return ""
    return _svg(plots.accuracy_over_size(points, metric))


def _points(run: RunRecord | Bench, name: str) -> list[plots.Point]:
    if isinstance(run, Bench):
        return benches.points(run.document, name)
    return view_model.points(run, name)


def _metric(run: RunRecord | Bench) -> str | None:
    """The metric of a run or a benchmark."""
    return benches.metric_of(run.document) if isinstance(run, Bench) else view_model.metric_of(run)


def title_of(run: RunRecord | Bench) -> str:
    """What a page of one run or one benchmark is called."""
    return benches.title(run.document) if isinstance(run, Bench) else view_model.title_of(run)


def _bench(name: str, bench: Bench) -> dict[str, Any]:
    """Everything that the page shows of one benchmark."""
    timed = bench.timed().items()
    return {
        "name": name,
        "bench": True,
        "verdict": benches.verdict(bench.document),
        "grids": benches.grids(bench.document),
        "latency_plots": [(d, _svg(plots.latency_distribution(rows))) for d, rows in timed],
        "accuracy_plot": _accuracy([(name, bench)], benches.metric_of(bench.document)),
        "provenance": [
            (key, str(bench.document[key]))
            for key in ("date", "command", "commit")
            if bench.document.get(key)
        ],
    }


def _svg(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)


def _view(name: str, run: RunRecord) -> dict[str, Any]:
    """Everything that the page shows of one run."""
    stages = run.stages
    timed = [r for r in run.benchmark.rows if r.samples_ms and r.median_ms and r.ci95_ms]
    return {
        "name": name,
        "bench": False,
        "verdict": run.judged,
        "cards": view_model.cards(run),
        "best_note": view_model.best_note(run),
        "warnings": list(run.warnings),
        "receipt": view_model.receipt(run),
        "receipt_plot": _svg(plots.receipt_lines(stages, run.stage_times))
        if len(stages) > 1
        else "",
        "artifacts": view_model.artifacts(run),
        "outputs": output_rows.outputs_of_run(run),
        "outputs_title": output_rows.TITLE,
        "accuracy_plot": _accuracy([(name, run)], view_model.metric_of(run)),
        "latency": view_model.latency(run),
        "latency_plot": _svg(plots.latency_distribution(timed)) if timed else "",
        "comparisons": view_model.comparisons(run),
        "profile": view_model.profile(run.benchmark.profiles),
        "curves": [
            (s.title or s.name, _svg(plots.training_curves(s.history)))
            for s in stages
            if plots.has_curves(s.history)
        ],
        "base": (run.model_extra or {}).get("report_base"),
        "classes": classes(run),
        "layers": details.layers(run),
        "provenance": details.provenance(run),
        "recipe": _recipe(run),
    }


def _recipe(run: RunRecord) -> str:
    import yaml

    return yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True) if run.recipe else ""
