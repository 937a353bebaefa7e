"""Tables on the terminal: as many columns as fit, and a block for each row where few do."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgepress.benchmarks.number_format import ABSENT, significant, whole
from edgepress.deploy.cli.display import echo, printable
from edgepress.deploy.cli.tables.columns import ESTIMATE, GAP, Column, most, needed, widths
from edgepress.deploy.cli.valid_names import NamedValue

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    from edgepress.benchmarks.report.view_model import Grid

F = TypeVar("F", bound=Callable[..., Any])

# Where nothing says how wide the output is, as in a pipe.
_WIDTH = 80
# With fewer columns a table is read more easily as blocks.
_FEWEST = 4
_VIEW, _PRINTED = "edgepress.table_view", "edgepress.table_printed"
_STYLES = (
    (re.compile(r"✓|improvement|verified$|accepted|b is faster|faster$"), "green"),
    (re.compile(r"✗|regression|failed|rejected|problem$|b is slower|slower$"), "red"),
    (re.compile(r"warning$|not verified"), "yellow"),
)


@dataclass(frozen=True)
class Layout:
    """The columns of a kind of table.

    Attributes:
        columns: Their names as `--columns` knows them, in the order in which they stand; the first
            one names the row.
        first: Those that matter most, the most important first; the others follow in their order.
    """

    columns: tuple[str, ...]
    first: tuple[str, ...] = ()

    @property
    def ranked(self) -> tuple[str, ...]:
        """All columns, the most important first."""
        return tuple(dict.fromkeys((self.columns[0], *self.first, *self.columns)))


@dataclass(frozen=True)
class View:
    """What the command line says of tables.

    Attributes:
        wide: Whether all columns are shown, however wide that is.
        columns: The columns that are shown; empty for those that fit.
    """

    wide: bool = False
    columns: tuple[str, ...] = ()


def table_options(*layouts: Layout, more: Iterable[str] = ()) -> Callable[[F], F]:
    """`--wide` and `--columns`, for a command that prints tables.

    Args:
        layouts: Of its tables.
        more: Names of columns that no layout holds.
    """
    names = dict.fromkeys((*(n for layout in layouts for n in layout.columns[1:]), *more))

    def decorate(function: F) -> F:
        function = click.option(
            "--columns",
            type=NamedValue(lambda: {"": names}),
            metavar="NAME,…",
            expose_value=False,
            callback=lambda context, _, value: _choose(context, value, tuple(names)),
            help="Show these columns of tables.",
        )(function)
        return click.option(
            "--wide",
            is_flag=True,
            expose_value=False,
            callback=_widen,
            help="Show all columns of tables, however wide they are.",
        )(function)

    return decorate


def _widen(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_VIEW] = View(wide=True, columns=_view(context).columns)
        _check_alone(context)


def _choose(context: click.Context, value: str | None, names: tuple[str, ...]) -> None:
    if value is None:
        return
    from edgepress.compress.kernel.registry import near_names

    chosen = tuple(word.strip() for word in value.split(",") if word.strip())
    unknown = [word for word in chosen if word not in names]
    if unknown or not chosen:
        word = unknown[0] if unknown else value
        raise click.UsageError(f"--columns: no column '{word}'; {near_names(word, names)}", context)
    context.meta[_VIEW] = View(_view(context).wide, chosen)
    _check_alone(context)


def _check_alone(context: click.Context) -> None:
    view = _view(context)
    if view.wide and view.columns:
        raise click.UsageError("--wide shows all columns, --columns some: drop one", context)


def check_shown(context: click.Context, as_json: bool) -> None:
    """Refuse options of tables where none is printed.

    Raises:
        UsageError: They are given with `--json`.
    """
    view = _view(context)
    if as_json and view != View():
        name = "--wide" if view.wide else "--columns"
        raise click.UsageError(f"{name} is for tables: drop it or --json", context)


def _view(context: click.Context | None) -> View:
    found: View = context.meta.get(_VIEW, View()) if context else View()
    return found


def output_width() -> int:
    """How many characters a line of standard output holds: `COLUMNS`, the terminal's, or 80."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH


def show_table(
    layout: Layout,
    title: str,
    rows: Iterable[Sequence[Any]],
    heads: Mapping[str, str] | None = None,
) -> None:
    """Print a table on standard output; numbers are never broken, and stand to the right.

    Args:
        layout: Its columns.
        title: Its title.
        rows: Cells in the order of the layout's columns.
        heads: What stands over a column, where that isn't its name.
    """
    view = _view(click.get_current_context(silent=True))
    cells = [[_cell(value) for value in row] for row in rows]
    shown = [
        Column(name, (heads or {}).get(name, name), [row[i] for row in cells])
        for i, name in enumerate(layout.columns)
    ]
    width = output_width()
    chosen, left_out = _chosen(shown, layout, view, width)
    console = _console(width if not view.wide else max(width, sum(map(most, chosen)) + 999))
    if not _is_first():
        console.print()
    console.print(_text(title, style="bold"), soft_wrap=True)
    if chosen:
        console.print(_rich_table(chosen, console.width))
    else:
        _print_blocks(console, shown, layout, view)
    if left_out:
        words = f"not shown: {', '.join(left_out)} (--wide shows all, --columns chooses)"
        console.print(_text(words, style="dim"))


def _is_first() -> bool:
    """Whether the running command has printed no table yet."""
    context = click.get_current_context(silent=True)
    if context is None:
        return True
    first = _PRINTED not in context.meta
    context.meta[_PRINTED] = True
    return first


def show_grid(layout: Layout, title: str, grid: Grid) -> None:
    """A table of a report on the terminal; times that aren't real have a short mark there.

    Args:
        layout: Names for the grid's columns, in their order.
        title: Its title.
        grid: The table.
    """
    from edgepress.benchmarks.records.rows import NOT_REAL

    rows = [[cell.replace(f"\n{NOT_REAL}", f" {ESTIMATE}") for cell in row] for row in grid.rows]
    rows = [[cell.replace(NOT_REAL, ESTIMATE) for cell in row] for row in rows]
    show_table(layout, title, rows, dict(zip(layout.columns, grid.columns, strict=True)))
    for note in grid.notes:
        echo(f"  {note}")
    if any(ESTIMATE in cell for row in rows for cell in row):
        echo(f"  {ESTIMATE}: {NOT_REAL}")


def say_styled(text: str, style: str = "") -> None:
    """A line on standard output, in a colour where that shows colours."""
    _console(output_width()).print(_text(text, style=style), soft_wrap=True)


def say_marked(word: str, text: str, below: str = "") -> None:
    """A word in its colour, what it says, and below that the way on.

    Args:
        word: A severity.
        text: Broken at blanks, behind the word.
        below: A second paragraph; may be empty.
    """
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column(no_wrap=True, min_width=len("problem"))
    table.add_column(overflow="fold")
    table.add_row(_text(word, style=style_of(word)), _text(text))
    if below:
        table.add_row("", _text(f"→ {below}"))
    _console(output_width()).print(table)


def style_of(text: str) -> str:
    """The colour of a severity or a verdict; empty for any other text."""
    return next((style for words, style in _STYLES if words.match(text)), "")


def _chosen(
    columns: list[Column], layout: Layout, view: View, width: int
) -> tuple[list[Column], list[str]]:
    """The columns that are shown, none where blocks are, and the names of those left out."""
    by_name = {column.name: column for column in columns}
    asked = [name for name in view.columns if name in by_name]
    if view.wide:
        return columns, []
    if asked:
        found = [columns[0], *(by_name[name] for name in asked)]
        return ([], []) if needed(found) > width else (found, [])
    shown = [name for name in layout.ranked if name == columns[0].name or not by_name[name].empty]
    kept: list[str] = []
    for name in shown:
        if needed([by_name[n] for n in (*kept, name)]) <= width:
            kept.append(name)
    left_out = [c.name for c in columns if c.name in shown and c.name not in kept]
    if len(kept) < min(_FEWEST, len(shown)):
        return [], [name for name in shown[1:] if name not in _in_blocks(layout, shown)]
    return [column for column in columns if column.name in kept], left_out


def _in_blocks(layout: Layout, names: Sequence[str]) -> list[str]:
    """Which columns a block shows."""
    return [name for name in names if name in (layout.first or layout.columns)]


def _rich_table(columns: Sequence[Column], width: int) -> RichTable:
    from rich import box
    from rich.table import Table

    # The box itself puts a blank between columns.
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False,
                  padding=(0, GAP - 1, 0, 0))  # fmt: skip
    for number, (column, wide) in enumerate(zip(columns, widths(columns, width), strict=True)):
        right = number > 0 and column.numeric
        table.add_column(
            _text(column.head),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=column.numeric,
            width=wide,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        # Plain: a name may look like rich's markup.
        table.add_row(*(_text(cell, style=style_of(cell)) for cell in row))
    return table


def _print_blocks(console: Console, columns: Sequence[Column], layout: Layout, view: View) -> None:
    """Each row as a block: its name, and below that a line for each figure."""
    from rich.table import Table

    shown = [c.name for c in columns[1:] if not c.empty]
    names = [n for n in view.columns if n in layout.columns] or _in_blocks(layout, shown)
    by_name = {column.name: column for column in columns}
    for row, name in enumerate(columns[0].cells):
        console.print(_text(name.replace("\n", ", "), style="bold"), soft_wrap=True)
        block = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
        block.add_column(no_wrap=True)
        block.add_column(overflow="fold")
        for key in names:
            cell = by_name[key].cells[row].replace("\n", ", ")
            head = by_name[key].head or key
            block.add_row(_text(f"  {head}"), _text(cell, style=style_of(cell)))
        console.print(block)


def _console(width: int) -> Console:
    from rich.console import Console

    return Console(width=width, highlight=False, markup=False, emoji=False)


def _text(text: str, style: str = "") -> Text:
    """A text for rich, in which nothing is markup and nothing a command to the terminal."""
    from rich.text import Text

    return Text(printable(text), style=style)


def _cell(value: Any) -> str:

    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return whole(value)
    return significant(value, 4) if isinstance(value, float) else printable(str(value))
