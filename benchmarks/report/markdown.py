"""The same tables as Markdown and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepress.benchmarks.report import benches, story
from edgepress.benchmarks.report.html import title_of


def render_markdown(runs: Sequence[tuple[str, story.Run]]) -> str:
    """The tables of one or more runs as Markdown."""
    parts = []
    for name, run in runs:
        parts.append(f"# {title_of(run)}" if len(runs) == 1 else f"# {name}")
        found = benches.verdict(run["benchmark"]) if benches.is_bench(run) else None
        parts += [found[1]] if found else []
        for title, grid in _grids(run):
            parts.append(f"## {title}\n\n{_markdown(grid)}")
            parts += [f"- {note}" for note in grid.notes]
    return "\n\n".join(parts) + "\n"


def _grids(run: story.Run) -> list[tuple[str, story.Grid]]:
    if benches.is_bench(run):
        return benches.grids(run["benchmark"])
    cards = story.cards(run)
    summary = story.Grid(
        ("", "before", "after", "change"),
        tuple((c.title, c.before, c.after, c.change) for c in cards),
    )
    grids = [
        ("Before and after", summary if cards else None),
        ("What each stage brought", story.receipt(run)),
        ("Files", story.artifacts(run)),
        ("Latency and memory", story.latency(run)),
        ("Compared", story.comparisons(run)),
        *((f"Time by operator: {name}", grid) for name, grid in story.profile(run)),
    ]
    return [(title, grid) for title, grid in grids if grid is not None]


def _markdown(grid: story.Grid) -> str:
    def line(cells: Sequence[str]) -> str:
        clean = (cell.replace("\n", " · ").replace("|", "\\|") for cell in cells)
        return "| " + " | ".join(clean) + " |"

    rule = "| --- |" + " ---: |" * (len(grid.columns) - 1)
    return "\n".join([line(grid.columns), rule, *(line(row) for row in grid.rows)])


def terminal_tables(run: story.Run) -> list[Any]:
    """The tables of one run for a terminal, as rich renderables."""
    from rich.table import Table
    from rich.text import Text

    found: list[Any] = []
    for title, grid in _grids(run):
        table = Table(title=title, title_justify="left")
        for i, column in enumerate(grid.columns):
            table.add_column(column, justify="left" if i == 0 else "right")
        for row in grid.rows:
            table.add_row(*(Text(cell.replace("\n", " ")) for cell in row))
        found.append(table)
        found += [Text(f"  {note}") for note in grid.notes]
    return found
