"""The metrics of single outputs, a row each: of stages, of exported files and of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgepress.benchmarks.gate.rows import output_figures
from edgepress.benchmarks.number_format import metric_change, metric_text
from edgepress.benchmarks.records import RunRecord
from edgepress.benchmarks.report.view_model import Grid
from edgepress.compress.kernel.figures import OutputMetric

TITLE = "Metrics by output"
_NOTE = "*: in the one figure that the other tables show"
# Where a figure was taken, and the figures of all outputs there.
OutputFigures = tuple[str, Sequence[OutputMetric]]


def outputs_of_run(run: RunRecord) -> Grid | None:
    """What each stage and each published file does to each output; None for a single output."""
    stages: list[OutputFigures] = [(stage.name, stage.metrics) for stage in run.stages]
    files: list[OutputFigures] = []
    for artifact in run.artifacts:
        row = run.benchmark.row_of(artifact.file)
        verified = artifact.verified.metrics if artifact.verified else ()
        files.append((artifact.name, verified or (row.metrics if row else ())))
    several = [(where, figures) for where, figures in (*stages, *files) if len(figures) > 1]
    return _grid(several, ("output", "metric", "of", "before", "value", "change"))


def outputs_of_benchmark(rows: Iterable[Mapping[str, Any]]) -> Grid | None:
    """The metric of each output in each row of a benchmark document.

    Args:
        rows: The document's rows.

    Returns:
        The table, or None where no row has several outputs.
    """
    rows = list(rows)
    several = len({row.get("device") for row in rows}) > 1
    outputs = []
    for row in rows:
        where = f"\n{row.get('device') or 'local'}" if several else ""
        outputs.append((f"{row.get('label') or row['artifact']}{where}", _figures(row)))
    return _grid(outputs, ("output", "metric", "file", "value"))


def _figures(row: Mapping[str, Any]) -> list[OutputMetric]:
    """A row's own account of its outputs; its outcomes where it has none."""
    single = output_figures(row)
    metrics = row.get("metrics") or single if single else ()
    return [
        OutputMetric(
            str(o["output"]), str(o.get("metric") or ""), o.get("value"),
            headline=bool(o.get("headline", False)),
        )
        for o in metrics
    ]  # fmt: skip


def _grid(outputs: Sequence[OutputFigures], columns: tuple[str, ...]) -> Grid | None:
    """One row for each output of each place, by output; None where there is none."""
    names = dict.fromkeys(f.output for _, figures in outputs for f in figures)
    found = [
        (f, where)
        for name in names
        for where, figures in outputs
        for f in figures
        if f.output == name
    ]
    rows = tuple(
        (
            f"{f.output}{' *' if f.headline else ''}",
            f.metric,
            where,
            *_values(f, beside="before" in columns),
        )
        for f, where in found
    )
    notes = (_NOTE,) if any(f.headline for f, _ in found) else ()
    return Grid(columns, rows, notes) if rows else None


def _values(figure: OutputMetric, beside: bool) -> tuple[str, ...]:
    value = metric_text(figure.metric, figure.value)
    if not beside:
        return (value,)
    change = metric_change(figure.metric, figure.source_value, figure.value)
    return metric_text(figure.metric, figure.source_value), value, change
