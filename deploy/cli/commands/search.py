"""`edgepress search`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import InputError, Stopped
from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    keyword_values,
    on_command_line,
    output_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.recipe import read_recipe


@click.command()
@click.argument("recipe", required=False, type=click.Path(path_type=Path), metavar="[RECIPE.yaml]")
@output_options(required=False, help="Folder of the search.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="Recipes.")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Trials at once."
)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a search."
)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Try many recipes and keep those that no other beats in every objective.

    The recipe's part `search:` says what varies and what is judged:

    \b
    search:
      space:
        prune.0.target_macs: {low: 0.3, high: 0.8}
        prune.0.criterion: [taylor, l1]
      objectives: [metric, latency]
    """
    from edgepress.deploy.searching.space import SearchRecipe

    path, output, resume = values["recipe"], values["output"], values["resume"]
    if resume is not None:
        if on_command_line("seed"):
            raise click.UsageError("--resume takes the seed from its own recipe: drop --seed")
        if output not in (None, resume):
            raise click.UsageError(f"--resume {resume} goes on in that folder: drop -o")
        if not (resume / "study.journal").is_file():
            raise InputError(f"'{resume}' holds no search to resume")
        path, output = path or resume / "recipe.yaml", resume
    if path is None:
        raise click.UsageError("missing RECIPE.yaml")
    if output is None:
        raise click.UsageError("missing -o, the folder of the search")
    recipe = read_recipe(path, SearchRecipe)
    if on_command_line("seed"):
        recipe = recipe.model_copy(update={"seed": values["seed"]})
    load_frameworks(values["verbose"])
    from edgepress.deploy.searching.search import search

    try:
        with display.ConsoleProgress() as progress:
            result = search(
                recipe,
                output,
                trials=values["trials"],
                workers=values["workers"],
                resume=resume is not None,
                force=values["force"],
                progress=progress,
            )
    except (KeyboardInterrupt, Stopped):
        raise Stopped(
            f"stopped; what is finished stays in '{output}'",
            f"go on with: edgepress search --resume {output}",
        ) from None
    if values["as_json"]:
        display.print_json(result.to_json())
        return
    _show(result.to_json())


def _show(found: dict[str, Any]) -> None:
    objectives = found["objectives"]
    rows = []
    for number in found["front"]:
        trial = found["trials"][number]
        figures = trial["figures"]
        changed = ", ".join(f"{k} {_short(v)}" for k, v in trial["values"].items())
        rows.append([trial["folder"], changed, *(figures[n] for n in objectives), figures["value"]])
    by = f"chosen by {found['chosen_by']}"
    display.print_table(
        f"{len(rows)} of {len(found['trials'])} recipes are beaten by none, {by}",
        ["trial", "values", *objectives, f"{found['metric']} ({found['split']})"],
        rows,
    )
    failed = [t for t in found["trials"] if t["reason"]]
    for trial in failed:
        click.echo(f"{trial['folder']}: {trial['reason']}")
    click.echo(f"report: {found['report']}   all trials: {Path(found['run']) / 'search.json'}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
