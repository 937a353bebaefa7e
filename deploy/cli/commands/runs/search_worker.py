"""`edgepress search-worker`."""

from __future__ import annotations

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.commands.runs.trial_options import trial_options
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    keyword_values,
    on_command_line,
)
from edgepress.deploy.cli.quiet import load_frameworks


@click.command(cls=SectionedCommand)
@click.option(
    "--storage",
    required=True,
    metavar="URL",
    envvar="EDGEPRESS_STORAGE",
    help="The search's database, as the search itself was given it.",
)
@click.option("--study", metavar="NAME", help="Name in that database; the only one by default.")
@trial_options
@common_options
@keyword_values
def command(values: Values) -> None:
    """Run trials of a search that was begun elsewhere, until all of them have ended.

    The search's folder, its model and its data must lie on a disk that all workers share, under
    the same paths. A trial whose worker dies is tried again by another one.
    """
    if on_command_line("seed"):
        raise click.UsageError("the seed is that of the search: drop --seed")
    load_frameworks(values["verbose"])
    from edgepress.deploy.searching.running.worker import search_worker

    with display.ConsoleProgress() as progress:
        trials = search_worker(
            values["storage"],
            values["study"],
            workers=values["workers"],
            seconds=values["time"],
            progress=progress,
        )
    if values["as_json"]:
        display.print_json({"trials": trials})
    else:
        echo(f"nothing is left to begin of {trials} trials; the search itself measures the best")
