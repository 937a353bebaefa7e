"""`edgepress fit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import make_spec
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    benchmark_options,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    options_given,
    output_options,
    seconds_of,
    spec_from,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.tables.printing import Layout, show_grid, table_options
from edgepress.deploy.fitting.spec import FitRecipe, FitSpec
from edgepress.deploy.pipeline.run_folder import RunFolder
from edgepress.deploy.recipe import BenchmarkSpec, read_recipe
from edgepress.deploy.searching.objectives import OBJECTIVES

if TYPE_CHECKING:
    from edgepress.deploy.fitting.outcome import FitResult

# Columns of the picks beside what is minimised.
_PICKED = ("of the given", "value")
# Options that a fit's recipe doesn't hold.
_OF_ANY_FIT = ("source", "output", "resume", "force", "time", "as_json", "verbose", "debug",
               "help_all")  # fmt: skip


@click.command(cls=SectionedCommand)
@click.argument("source", required=False, metavar="[MODEL]", type=click.Path())
@data_options(required=False)
@output_options(required=False, help="Folder of the fit.")
@spec_options(FitSpec, aliases={"max_bytes": ("max-flash",)})
@click.option(
    "--time",
    default="20m",
    show_default=True,
    metavar="TIME",
    callback=seconds_of,
    help="Time for all trials, as 20m or 1h30m.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with a fit that was stopped, or that shall have more time.",
)
@benchmark_options
@click.option("--custom-objects", type=click.Path(), help="Python file with your own layers.")
@click.option(
    "--unsafe-lambda",
    is_flag=True,
    help="Let Lambda layers run their Python code: only for files you trust.",
)
@table_options(more=("plan", *OBJECTIVES, *_PICKED))
@common_options
@keyword_values
def command(values: Values) -> None:
    """Find the fastest or smallest files whose metric falls by at most --max-drop.

    Needs no recipe: tries channels, zeros and precisions, trains what is worth it, and ends with
    three files (safest, knee, smallest), each with the recipe that makes it again.
    """
    resume, output = values["resume"], values["output"]
    recipe = _recipe(values) if resume is None else _resumed(values)
    folder = resume or output
    load_frameworks(values["verbose"])
    from edgepress.deploy.cli.run_display import resumable
    from edgepress.deploy.fitting.fit import fit
    from edgepress.deploy.fitting.outcome import check_fit

    go_on = f"edgepress fit --resume {folder} --time 20m"
    with resumable(RunFolder(folder).recipe, go_on) as progress:
        result = fit(
            recipe,
            folder,
            seconds=values["time"],
            resume=resume is not None,
            force=values["force"],
            progress=progress,
        )
    if values["as_json"]:
        display.print_json(result.to_json())
    else:
        _show(result)
    check_fit(result)


def _recipe(values: Values) -> FitRecipe:
    if values["source"] is None:
        raise click.UsageError("missing MODEL")
    if values["output"] is None:
        raise click.UsageError("missing -o, the folder of the fit")
    data = data_spec(values)
    if data is None:
        raise click.UsageError("missing --data")
    found = {"model": values["source"], "data": data, "seed": values["seed"]}
    for name, kind in (("fit", FitSpec), ("benchmark", BenchmarkSpec)):
        if part := given(values, kind):
            found[name] = spec_from(kind, part)
    for name in ("custom_objects", "unsafe_lambda"):
        if values[name]:
            found[name] = values[name]
    return make_spec(FitRecipe, found)


def _resumed(values: Values) -> FitRecipe:
    resume = values["resume"]
    if values["output"] not in (None, resume):
        raise click.UsageError(f"--resume {resume} goes on in that folder: drop -o")
    found = options_given(beside=_OF_ANY_FIT)
    if found or values["source"] is not None:
        word = found[0] if found else "MODEL"
        raise click.UsageError(
            f"--resume takes the settings from the fit's own recipe: drop {word}"
        )
    folder = RunFolder(resume)
    if not folder.recipe.is_file():
        raise InputError(f"'{resume}' holds no fit to resume")
    folder.check_recipe()
    return read_recipe(folder.recipe, FitRecipe)


def _show(result: FitResult) -> None:
    """The picks with the figures that prove them."""
    from edgepress.benchmarks.report.fit_tables import picks_grid
    from edgepress.deploy.fitting.floor import words_of
    from edgepress.deploy.fitting.limits import words_of as words_of_limit

    record = result.contents
    if record.picks:
        names = ("pick", "plan", record.minimise, *_PICKED)
        show_grid(Layout(names, names[2:]), "Picks", picks_grid(record))
    for pick in record.picks:
        for held in pick.floors:
            echo(f"{', '.join(pick.names)}: {words_of(held, record.max_drop)}")
        for limit in pick.limits:
            echo(f"{', '.join(pick.names)}: {words_of_limit(limit)}")
        echo(f"{', '.join(pick.names)}: {result.folder / pick.file}")
    for near in record.nearest:
        echo(f"nearest: {near.words} needs {' and '.join(near.needs)}: {result.folder / near.file}")
    for warning in record.warnings:
        echo(f"note: {warning}")
    echo(f"{record.headline}, in {record.spent_s:.0f} s")
    echo(f"report: {RunFolder(result.folder).report}   all trials: {result.folder / 'fit.json'}")
