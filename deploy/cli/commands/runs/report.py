"""`edgepress report`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    checked_output,
    common_options,
    keyword_values,
    output_options,
)


@click.command(cls=SectionedCommand)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN…")
@output_options(help="The report: an .html, .md or .json file.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Write a self-contained HTML page from RUN folders, JSON files of `benchmark`, or a search."""
    output = checked_output(values)
    from edgepress.benchmarks.report import report

    report(list(values["runs"]), output, force=values["force"])
    if values["as_json"]:
        display.print_json({"report": str(output)})
        return
    echo(f"wrote {output}")
