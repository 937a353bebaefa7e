"""`edgepress compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import InputError
from edgepress.compress.recipe import FinetuneSpec, PruneSpec
from edgepress.compress.specifying import make_spec
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    output_options,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.run_display import finish, run_line
from edgepress.deploy.recipe import AcceptSpec, BenchmarkSpec, ExportSpec, Recipe, read_recipe

_PRUNE_SCHEDULES = ("one-shot", "iterative")
_RECIPE_ENDINGS = (".yaml", ".yml")


@click.command()
@click.argument("source", required=False, metavar="[MODEL | RECIPE.yaml]")
@data_options(required=False)
@output_options(required=False, help="Folder of the run.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a run.")
@spec_options(FinetuneSpec)
@spec_options(
    PruneSpec,
    skip=("max_drop", "calibration_samples"),
    rename={"schedule": "prune-schedule"},
    prefix="prune_",
)
@spec_options(AcceptSpec)
@spec_options(ExportSpec, rename={"formats": "format", "shapes": "shape"})
@spec_options(BenchmarkSpec, rename={"devices": "device"})
@click.option("--custom-objects", type=click.Path(), help="Python file with your own layers.")
@click.option("--unsafe-lambda", is_flag=True, help="Let Lambda layers run their Python code.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """The whole line: fine-tune, prune, recover, strip, export, verify, benchmark, report.

    Fine-tuning runs when one of its options is given (such as --epochs), pruning when a target is
    (--sparsity, --target-macs, …); --schedule is the learning rate's, --prune-schedule the
    sparsity's. Several pruning steps are written in a recipe.
    """
    resume, output = values["resume"], values["output"]
    if resume is not None:
        if values["source"] or output:
            raise click.UsageError("--resume RUN takes neither a model nor -o")
        recipe: Recipe = read_recipe(resume / "recipe.yaml") if resume.is_dir() else _no_run(resume)
    else:
        if values["source"] is None:
            raise click.UsageError("missing MODEL or RECIPE.yaml")
        if output is None:
            raise click.UsageError("missing -o, the folder of the run")
        recipe = _recipe(values)
    load_frameworks(values["verbose"])
    result = run_line(recipe, resume or output, resume is not None, values["force"])
    finish(result, values["as_json"])


def _no_run(path: Path) -> Recipe:
    raise InputError(f"'{path}' holds no run to resume")


def _recipe(values: Values) -> Recipe:
    source = values["source"]
    settings = _settings(values)
    if source.endswith(_RECIPE_ENDINGS):
        if settings or values["data"]:
            name = next(iter(settings), "data")
            raise click.UsageError(f"a recipe says everything itself: drop the options ({name})")
        return read_recipe(Path(source))
    data = data_spec(values)
    if data is None:
        raise click.UsageError("missing --data")
    return make_spec(Recipe, {"model": source, "data": data, "seed": values["seed"], **settings})


def _settings(values: Values) -> dict[str, Any]:
    """The parts of a recipe that were given as options."""
    found: dict[str, Any] = {}
    tuning = given(values, FinetuneSpec)
    pruning = given(_unprefixed(values), PruneSpec)
    if tuning.get("schedule") in _PRUNE_SCHEDULES:
        pruning["schedule"] = tuning.pop("schedule")
    if pruning and values["calibration_samples"]:
        pruning["calibration_samples"] = values["calibration_samples"]
    if tuning:
        found["finetune"] = make_spec(FinetuneSpec, tuning)
    if pruning:
        found["prune"] = (make_spec(PruneSpec, pruning),)
    for name, kind in (
        ("export", ExportSpec),
        ("benchmark", BenchmarkSpec),
        ("accept", AcceptSpec),
    ):
        part = given(values, kind)
        if part:
            found[name] = make_spec(kind, part)
    for name in ("custom_objects", "unsafe_lambda"):
        if values[name]:
            found[name] = values[name]
    return found


def _unprefixed(values: Values) -> Values:
    return {k.removeprefix("prune_"): v for k, v in values.items() if k.startswith("prune_")}
