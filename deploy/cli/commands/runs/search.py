"""`edgepress search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.compress.errors import InputError
from edgepress.deploy.cli import display
from edgepress.deploy.cli.commands.runs.trial_options import trial_options
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    keyword_values,
    on_command_line,
    output_options,
    read_by,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.tables.layouts import LATENCY
from edgepress.deploy.cli.tables.printing import Layout, show_grid, table_options
from edgepress.deploy.pipeline.run_folder import RunFolder
from edgepress.deploy.recipe import read_recipe
from edgepress.deploy.searching.objectives import OBJECTIVES

if TYPE_CHECKING:
    from edgepress.deploy.searching.search import SearchResult


@click.command(cls=SectionedCommand)
@click.argument("recipe", required=False, type=click.Path(path_type=Path), metavar="[RECIPE.yaml]")
@output_options(required=False, help="Folder of the search.")
@click.option(
    "--trials", type=click.IntRange(1), default=20, show_default=True, help="Recipes to try."
)
@trial_options
@click.option(
    "--storage",
    metavar="URL",
    envvar="EDGEPRESS_STORAGE",
    help="Database by which other machines share the search, as sqlite:///FILE or"
    " postgresql+psycopg://USER@HOST/NAME; they join by: edgepress search-worker.",
)
@click.option("--study", metavar="NAME", help="Name in that database; the folder's by default.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Continue a search.")
@table_options(LATENCY, more=("values", *OBJECTIVES, "value"))
@common_options
@keyword_values
def command(values: Values) -> None:
    """Try many recipes and keep the Pareto front: those that no other beats in every objective.

    The section `search:` of the recipe says what varies and what is optimised:

    \b
    search:
      space:
        prune.0.target_macs: {low: 0.3, high: 0.8}
        prune.0.criterion: [taylor, l1]
      objectives: [metric, latency]
    """
    from edgepress.deploy.searching.space import SearchRecipe

    path, output = _places(values)
    resume = values["resume"]
    recipe = read_recipe(path, SearchRecipe)
    if on_command_line("seed"):
        recipe = recipe.model_copy(update={"seed": values["seed"]})
    load_frameworks(values["verbose"])
    from edgepress.deploy.cli.run_display import resumable
    from edgepress.deploy.pipeline.opening import check_run_output
    from edgepress.deploy.searching.search import check_found, run_search

    if resume is None:
        check_run_output(output, values["force"], read_by(values))
    go_on = f"edgepress search --resume {output}"
    if values["storage"]:
        go_on += " --storage URL" + (f" --study {values['study']}" if values["study"] else "")
    with resumable(_record_of(output, values), go_on) as progress:
        result = run_search(
            recipe,
            output,
            trials=values["trials"],
            workers=values["workers"],
            seconds=values["time"],
            storage=values["storage"],
            study=values["study"] or "",
            resume=resume is not None,
            force=values["force"],
            progress=progress,
        )
    if values["as_json"]:
        display.print_json(result.to_json())
    else:
        _show(result)
    check_found(result)


def _places(values: Values) -> tuple[Path, Path]:
    """The recipe and the folder of the search."""
    path, output, resume = values["recipe"], values["output"], values["resume"]
    if values["study"] and not values["storage"]:
        raise click.UsageError("--study names a study in a database: give --storage too")
    if resume is not None:
        if on_command_line("seed"):
            raise click.UsageError("--resume takes the seed from its own recipe: drop --seed")
        if output not in (None, resume):
            raise click.UsageError(f"--resume {resume} goes on in that folder: drop -o")
        if not _record_of(resume, values).is_file():
            raise InputError(
                f"'{resume}' holds no search to resume", "one of a database needs --storage"
            )
        if path is None:
            RunFolder(resume).check_recipe()
        return path or resume / "recipe.yaml", resume
    if path is None:
        raise click.UsageError("missing RECIPE.yaml")
    if output is None:
        raise click.UsageError("missing -o, the folder of the search")
    return path, output


def _record_of(folder: Path, values: Values) -> Path:
    """The file without which a search can't go on; with a database that holds its trials."""
    return folder / ("recipe.yaml" if values["storage"] else "study.journal")


def _show(result: SearchResult) -> None:
    """The front as the last measurement has it, that measurement, and the trials without a file."""
    from edgepress.benchmarks.report.search_page import search_view

    found, view = result.contents, search_view(result.contents)
    if view["front"] is not None:
        names = ("trial", "values", *found.objectives, "value")
        show_grid(Layout(names, names[2:]), "The front", view["front"])
    if view["latency"] is not None:
        show_grid(LATENCY, "The last measurement, interleaved", view["latency"])
    for warning in found.warnings:
        echo(f"note: {warning}")
    echo(f"{found.headline}, chosen by {found.chosen_by}")
    for trial in found.trials:
        if trial.reason:
            echo(f"{trial.folder}: {trial.reason}")
    folder = result.folder
    echo(f"report: {folder / 'report.html'}   all trials: {folder / 'search.json'}")
