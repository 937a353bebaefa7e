"""One self-contained page: tables, and pictures that follow the page's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepress.benchmarks.number_format import bytes_text, metric_text
from edgepress.benchmarks.records import RunRecord, run_record
from edgepress.benchmarks.report import benches, output_rows, plots, view_model
from edgepress.benchmarks.report.benches import Bench

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
    several = len(runs) > 1
    metric = next(filter(None, (_metric(run) for _, run in runs)), None)
    first = title_of(runs[0][1]) if runs else ""
    text: str = environment.get_template("page.html").render(
        title=search["title"] if search else f"{len(runs)} runs compared" if several else first,
        search=search,
        style=Markup((_FOLDER / "page.css").read_text("utf-8")),
        overview=_overview(runs) if several else None,
        overview_plot=_accuracy(runs, metric) if several else None,
        runs=[_bench(n, r) if isinstance(r, Bench) else _view(n, r) for n, r in runs],
        version=next((r.edgepress or "" for _, r in runs if isinstance(r, RunRecord)), ""),
    )
    return text


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


def _accuracy(runs: Sequence[tuple[str, RunRecord | Bench]], metric: str | None) -> Any:
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
    }


def _svg(text: str) -> Any:
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
        "provenance": view_model.provenance(run),
        "recipe": _recipe(run),
    }


def _recipe(run: RunRecord) -> str:
    import yaml

    return yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True) if run.recipe else ""
