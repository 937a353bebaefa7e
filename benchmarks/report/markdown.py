"""The same tables as Markdown and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgepress.benchmarks.records import RunRecord, run_record
from edgepress.benchmarks.report import benches, output_rows, view_model
from edgepress.benchmarks.report.benches import Bench
from edgepress.benchmarks.report.html import opened, title_of


def render_markdown(runs: Sequence[tuple[str, Mapping[str, Any] | RunRecord]]) -> str:
    """The verdict and the tables of one or more runs as Markdown."""
    parts = []
    for name, values in runs:
        run = opened(name, values)
        parts.append(f"# {title_of(run)}" if len(runs) == 1 else f"# {name}")
        if isinstance(run, Bench):
            found = benches.verdict(run.document)
            parts += [found[1]] if found else []
        elif run.judged is not None:
            parts.append(f"**{run.judged.headline}**")
            parts += [f"- {line}" for line in (*run.judged.fits, *run.judged.lines)]
        for title, grid in grids(run):
            parts.append(f"## {title}\n\n{markdown_table(grid)}")
            parts += [f"- {note}" for note in grid.notes]
    return "\n\n".join(parts) + "\n"


def grids(run: RunRecord | Bench) -> list[tuple[str, view_model.Grid]]:
    """The tables of a run or a benchmark under their titles."""
    if isinstance(run, Bench):
        return benches.grids(run.document)
    cards = view_model.cards(run)
    summary = view_model.Grid(
        ("", "before", "after", "change"),
        tuple((c.title, c.before, c.after, c.change) for c in cards),
        (note,) if (note := view_model.best_note(run)) else (),
    )
    found = [
        ("Before and after", summary if cards else None),
        ("What each stage changed", view_model.receipt(run)),
        ("Files", view_model.artifacts(run)),
        (output_rows.TITLE, output_rows.outputs_of_run(run)),
        ("Latency and memory", view_model.latency(run)),
        ("Compared", view_model.comparisons(run)),
        *view_model.operator_times(run.benchmark.profiles),
    ]
    return [(title, grid) for title, grid in found if grid is not None]


def markdown_table(grid: view_model.Grid) -> str:
    """A table as Markdown."""

    def line(cells: Sequence[str]) -> str:
        clean = (cell.replace("\n", " · ").replace("|", "\\|") for cell in cells)
        return "| " + " | ".join(clean) + " |"

    rule = "| --- |" + " ---: |" * (len(grid.columns) - 1)
    return "\n".join([line(grid.columns), rule, *(line(row) for row in grid.rows)])


def terminal_tables(values: Mapping[str, Any] | RunRecord) -> list[Any]:
    """The verdict and the tables of one run for a terminal, as rich renderables."""
    from rich.table import Table
    from rich.text import Text

    run = run_record(values)
    verdict = run.judged
    said = (*verdict.fits, verdict.headline, *verdict.lines) if verdict else ()
    found: list[Any] = [Text(line) for line in said]
    for title, grid in grids(run):
        table = Table(title=title, title_justify="left")
        for i, column in enumerate(grid.columns):
            table.add_column(column, justify="left" if i == 0 else "right")
        for row in grid.rows:
            table.add_row(*(Text(cell.replace("\n", " ")) for cell in row))
        found.append(table)
        found += [Text(f"  {note}") for note in grid.notes]
    return found
