"""`edgepress compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.recipe import DataSpec, FinetuneSpec, PruneSpec
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    benchmark_options,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    on_command_line,
    options_given,
    output_options,
    read_by,
    spec_from,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.supervised.run_work import run_work
from edgepress.deploy.cli.supervised.supervision import supervise
from edgepress.deploy.cli.tables.layouts import RUN
from edgepress.deploy.cli.tables.printing import table_options
from edgepress.deploy.pipeline.run_folder import RunFolder
from edgepress.deploy.recipe import AcceptSpec, BenchmarkSpec, ExportSpec, Recipe, read_recipe

_PRUNE_SCHEDULES = ("one-shot", "iterative")
# Options that a recipe doesn't hold.
_OF_ANY_RUN = ("source", "output", "resume", "force", "as_json", "verbose", "debug", "help_all")
_RECIPE_ENDINGS = (".yaml", ".yml")


@click.command(cls=SectionedCommand)
@click.argument("source", required=False, metavar="[MODEL | RECIPE.yaml]", type=click.Path())
@data_options(required=False)
@output_options(required=False, help="Folder of the run.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Continue a run.")
@spec_options(FinetuneSpec)
@spec_options(
    PruneSpec,
    skip=("max_drop", "calibration_samples"),
    rename={
        "schedule": "prune-schedule",
        "steps": "rounds",
        "device": "prune-device",
        "threads": "prune-threads",
        "release_zeros": "prune-release-zeros",
        "release_clusters": "prune-release-clusters",
    },
    prefix="prune_",
    aliases={"steps": ("steps",)},
)
@spec_options(AcceptSpec, aliases={"max_bytes": ("max-flash",)})
@spec_options(
    ExportSpec, skip=("precision",), rename={**ExportSpec.flags, "graph_batch": "graph-batch"}
)
@spec_options(
    ExportSpec,
    skip=set(ExportSpec.model_fields) - {"precision"},
    # The benchmark's precision is that of its intervals.
    rename={"precision": "layer-precision"},
    prefix="export_",
)
@benchmark_options
@click.option("--custom-objects", type=click.Path(), help="Python file with your own layers.")
@click.option(
    "--unsafe-lambda",
    is_flag=True,
    help="Let Lambda layers run their Python code: only for files you trust.",
)
@table_options(*RUN)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Run the full pipeline: fine-tune, prune, recover, strip, export, verify, benchmark, report.

    Fine-tuning runs if one of its options is given (such as --epochs), pruning if a target is
    (--sparsity, --target-macs, …). --schedule is the learning-rate schedule, --prune-schedule the
    sparsity schedule. For several pruning steps write a recipe.
    """
    resume, output = values["resume"], values["output"]
    if resume is not None:
        recipe = _resumed(values)
    elif values["source"] is None:
        raise click.UsageError("missing MODEL or RECIPE.yaml")
    elif output is None:
        raise click.UsageError("missing -o, the folder of the run")
    else:
        recipe = _recipe(values)
    supervise(run_work(resume or output))
    load_frameworks(values["verbose"])
    from edgepress.deploy.cli.run_display import finish, run_line
    from edgepress.deploy.pipeline.opening import check_run_output

    if resume is None:
        check_run_output(output, values["force"], read_by(values))

    result = run_line(recipe, resume or output, resume is not None, values["force"])
    finish(result, values["as_json"])


def _resumed(values: Values) -> Recipe:
    """The recipe of a run that goes on: the one in its folder, or a new one."""
    resume = values["resume"]
    if not resume.is_dir():
        raise InputError(f"'{resume}' holds no run to resume")
    if values["output"] not in (None, resume):
        raise click.UsageError(f"--resume {resume} goes on in that folder: drop -o")
    if values["source"] is not None:
        return _recipe(values)
    found = options_given(beside=_OF_ANY_RUN)
    if found:
        raise click.UsageError(
            f"--resume takes the settings from the run's own recipe: drop {found[0]}, or give MODEL"
            " too"
        )
    folder = RunFolder(resume)
    if folder.recipe.is_file():
        folder.check_recipe()
    return read_recipe(folder.recipe)


def _recipe(values: Values) -> Recipe:
    source = values["source"]
    settings = _settings(values)
    if source.endswith(_RECIPE_ENDINGS):
        if settings or on_command_line("data", *DataSpec.model_fields):
            found = options_given(beside=(*_OF_ANY_RUN, "seed"))
            raise click.UsageError(f"a recipe says everything itself: drop {', '.join(found)}")
        recipe = read_recipe(Path(source))
        seed = {"seed": values["seed"]} if on_command_line("seed") else {}
        return recipe.model_copy(update=seed)
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
    if pruning and values["calibration_samples"] and _calibrates(pruning):
        pruning["calibration_samples"] = values["calibration_samples"]
    if pruning.get("target_latency") and "device" not in pruning:
        # A latency that is aimed at is that of the first device which is benchmarked.
        pruning["device"] = next(iter(values["devices"] or ()), "local").split(",")[0]
        if values["threads"]:
            pruning["threads"] = values["threads"].partition(",")[0]
    if tuning:
        found["finetune"] = spec_from(FinetuneSpec, tuning)
    if pruning:
        found["prune"] = (spec_from(PruneSpec, pruning, "prune_"),)
    for name, kind in (
        ("export", ExportSpec),
        ("benchmark", BenchmarkSpec),
        ("accept", AcceptSpec),
    ):
        part = given(_own_precision(values) if kind is ExportSpec else values, kind)
        if name == "export" and pruning and not _takes_samples(part):
            part.pop("calibration_samples", None)  # the pruning's, which shares the option
        if part:
            found[name] = spec_from(kind, part)
    for name in ("custom_objects", "unsafe_lambda"):
        if values[name]:
            found[name] = values[name]
    return found


def _own_precision(values: Values) -> Values:
    """The options with an export's precision of layers, not a benchmark's of intervals."""
    return {**values, "precision": values["export_precision"]}


def _calibrates(pruning: Values) -> bool:
    """Whether a step of this structure looks at calibration samples."""
    kinds = {kind.kind(): kind for kind in PruneSpec.kinds()}
    kind = kinds.get(pruning.get("structure", PruneSpec.kind()))
    return kind is not None and "calibration_samples" in kind.model_fields


def _takes_samples(export: Values) -> bool:
    """Whether files of these options take ranges from samples."""
    quantize = {"quantize": export["quantize"]} if "quantize" in export else {}
    return bool(spec_from(ExportSpec, quantize).calibrated)


def _unprefixed(values: Values) -> Values:
    return {k.removeprefix("prune_"): v for k, v in values.items() if k.startswith("prune_")}
