"""`edgepress report`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    checked_output,
    common_options,
    keyword_values,
    output_options,
)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN…")
@output_options(help="The page, an .html file.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Make one self-contained HTML page of one or more RUN folders and benchmarks' JSON files."""
    output = checked_output(values)
    from edgepress.benchmarks.report import report

    report(list(values["runs"]), output, force=values["force"])
    if values["as_json"]:
        display.print_json({"report": str(output)})
        return
    click.echo(f"wrote {output}")
