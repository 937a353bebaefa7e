"""One self-contained page: tables, and pictures that follow the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepress.benchmarks.report import benches, plots, story
from edgepress.benchmarks.report.wording import bytes_text, metric_text, ms_text, time_mark

_FOLDER = Path(__file__).parent


def render_html(runs: Sequence[tuple[str, story.Run]]) -> str:
    """The page of one or more runs.

    Args:
        runs: Names of the runs and what their run.json holds.

    Returns:
        An HTML document without outside references.
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
    text: str = environment.get_template("page.html").render(
        title=f"{len(runs)} runs compared" if several else title_of(runs[0][1]),
        style=Markup((_FOLDER / "page.css").read_text("utf-8")),
        overview=_overview(runs) if several else None,
        overview_plot=_accuracy(runs, metric) if several else None,
        runs=[_bench(name, r) if benches.is_bench(r) else _view(name, r) for name, r in runs],
        version=str(runs[0][1].get("edgepress") or ""),
    )
    return text


def _overview(runs: Sequence[tuple[str, story.Run]]) -> story.Grid:
    rows = []
    for name, run in runs:
        for row in story.artifact_rows(run):
            rows.append(
                (
                    f"{row.get('label') or row['artifact']}\n{name}",
                    bytes_text(row.get("bytes")),
                    bytes_text(row.get("gzip_bytes")),
                    "\n".join(filter(None, (ms_text(row.get("median_ms")), time_mark(row)))),
                    metric_text(row.get("metric"), row.get("value")),
                )
            )
    return story.Grid(("file", "bytes", "gzip", "latency", "metric"), tuple(rows))


def _accuracy(runs: Sequence[tuple[str, story.Run]], metric: str | None) -> Any:
    points = [point for name, run in runs if _metric(run) == metric for point in _points(run, name)]
    if not metric or len(points) < 2:
        return ""
    return _svg(plots.accuracy_over_size(points, metric))


def _points(run: story.Run, name: str) -> list[plots.Point]:
    bench = benches.is_bench(run)
    return benches.points(run["benchmark"], name) if bench else story.points(run, name)


def _metric(run: story.Run) -> str | None:
    """The metric of a run or a benchmark."""
    bench = benches.is_bench(run)
    return benches.metric_of(run["benchmark"]) if bench else story.metric_of(run)


def title_of(run: story.Run) -> str:
    """What a page of one run or one benchmark is called."""
    bench = benches.is_bench(run)
    return benches.title(run["benchmark"]) if bench else story.title_of(run)


def _bench(name: str, run: story.Run) -> dict[str, Any]:
    """Everything that the page shows of one benchmark."""
    document = run["benchmark"]
    timed = benches.timed(document).items()
    return {
        "name": name,
        "bench": True,
        "verdict": benches.verdict(document),
        "grids": benches.grids(document),
        "latency_plots": [(d, _svg(plots.latency_distribution(rows))) for d, rows in timed],
        "accuracy_plot": _accuracy([(name, run)], benches.metric_of(document)),
    }


def _svg(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _view(name: str, run: story.Run) -> dict[str, Any]:
    """Everything that the page shows of one run."""
    stages = list(run.get("stages") or ())
    timed = [r for r in story.rows_of(run) if r.get("samples_ms")]
    return {
        "name": name,
        "bench": False,
        "accepted": run.get("accepted"),
        "cards": story.cards(run),
        "best_note": story.best_note(run),
        "warnings": list(run.get("warnings") or ()),
        "receipt": story.receipt(run),
        "receipt_plot": _svg(plots.receipt_lines(stages)) if len(stages) > 1 else "",
        "artifacts": story.artifacts(run),
        "accuracy_plot": _accuracy([(name, run)], story.metric_of(run)),
        "latency": story.latency(run),
        "latency_plot": _svg(plots.latency_distribution(timed)) if timed else "",
        "comparisons": story.comparisons(run),
        "profile": story.profile(run),
        "curves": [
            (str(s.get("title") or s.get("name")), _svg(plots.training_curves(s["history"])))
            for s in stages
            if plots.has_curves(s.get("history"))
        ],
        "provenance": story.provenance(run),
        "recipe": _recipe(run),
    }


def _recipe(run: story.Run) -> str:
    import yaml

    recipe = run.get("recipe")
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True) if recipe else ""
