"""`edgepress prune`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import CheckFailed
from edgepress.compress.kernel.context import Context
from edgepress.compress.kernel.files import check_distinct
from edgepress.compress.kernel.onednn import crash_notes
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.pruning_result import PruneResult, Removed
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.deploy.cli import display
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    checked_model_output,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    load_model,
    model_argument,
    output_options,
    spec_from,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.supervised.supervision import supervise
from edgepress.deploy.cli.supervised.training_state import going_on, training_state


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=False)
@output_options(required=False, help="The pruned model, a .keras file.")
@spec_options(
    PruneSpec,
    rename={"steps": "rounds"},
    aliases={
        "steps": ("steps",),
        **{name: (f"prune-{name}",) for name in ("schedule", "device", "threads")},
    },
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint of a stopped call.")
@click.option("--dry-run", is_flag=True, help="Show the pruning plan for channels and exit.")
@click.option(
    "--explain", metavar="LAYER", help="Explain why channels of LAYER are removed, and exit."
)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Prune MODEL and recover its accuracy.

    F is the share removed for --sparsity, the share kept for every --target-…. Size, arena and
    latency are measured on the exported file, and the plan is revised until the target is met.
    Without --data nothing is trained, repaired or evaluated. If MODEL was saved compiled and
    channels or layers are removed, OUT is compiled too, with its optimizer state cut to fit.
    """
    spec = spec_from(PruneSpec, given(values, PruneSpec))
    data = data_spec(values)
    if spec.max_drop is not None and data is None:
        raise click.UsageError("--max-drop needs --data: the fall is measured")
    if values["dry_run"] or values["explain"]:
        _preview(values, spec, data)
        return
    if values["output"] is None:
        raise click.UsageError("Missing option '-o' / '--output'")
    output = checked_model_output(values)
    check_distinct(output, spec.recover.log_csv, spec.recover.log_tensorboard)
    supervise(going_on(output))
    load_frameworks(values["verbose"])
    from edgepress.compress import open_data, save
    from edgepress.compress.models import load_noted, restore_compilation
    from edgepress.deploy.pruning import prune_as

    custom_objects = values["custom_objects"]
    loaded = load_noted(values["model"], custom_objects, values["unsafe_lambda"])
    model = loaded.model
    left_behind = restore_compilation(loaded, values["model"], custom_objects)
    if left_behind:
        display.say(f"note: {left_behind}")
    dataset = None if data is None else open_data(data, model, values["seed"])
    for warning in dataset.warnings if dataset else ():
        display.say(f"note: {warning}")
    with training_state(output, values["resume"]) as state, display.ConsoleProgress() as progress:
        result = prune_as(spec, model, dataset, Context(values["seed"], state, progress))
        save(result.model, output, values["force"])
    result = dataclasses.replace(result, notes=(*result.notes, *crash_notes()))
    if dataset is not None and not spec.recover.epochs:
        display.say("note: nothing was trained after pruning; --recover-epochs 10 recovers most")
    _show(values, result, output)
    _check_drop(spec, dataset, result)


def _preview(values: Values, spec: PruneSpec, data: Any) -> None:
    """The plan, or the explanation of one layer; nothing is built or written."""
    if not isinstance(spec, ChannelsSpec):
        raise click.UsageError("--dry-run and --explain are for --structure channels")
    load_frameworks(values["verbose"])
    from edgepress.compress import open_data

    model = load_model(values)
    dataset = None if data is None else open_data(data, model, values["seed"])
    if values["explain"]:
        _explain(values, spec, model, dataset)
        return
    from edgepress.compress.pruning_run import uncounted_notes
    from edgepress.compress.structure import make_plan
    from edgepress.deploy.benchmarking.measurers import instruments_for

    with (
        display.ConsoleProgress() as progress,
        instruments_for(spec, progress=progress) as instruments,
    ):
        plan = make_plan(model, spec, dataset, values["seed"], instruments)
    if values["as_json"]:
        display.print_json(plan.to_json())
        return
    display.print_table(
        f"Plan for {values['model']}: MACs {plan.macs[0]:,} to {plan.macs[1]:,}, parameters"
        f" {plan.params[0]:,} to {plan.params[1]:,}",
        _REMOVED,
        [_row(r) for r in plan.removals()],
    )
    for measured in plan.measured:
        click.echo(measured.line())
    for note in uncounted_notes(plan.uncounted, spec.target_macs is not None):
        click.echo(f"note: {note}")


def _explain(values: Values, spec: ChannelsSpec, model: Any, dataset: Any) -> None:
    from edgepress.compress.structure.explanation import explain
    from edgepress.deploy.benchmarking.measurers import instruments_for

    with instruments_for(spec) as instruments:
        found = explain(model, values["explain"], spec, dataset, values["seed"], instruments)
    if values["as_json"]:
        display.print_json([dataclasses.asdict(e) for e in found])
        return
    for explanation in found:
        for line in explanation.lines():
            click.echo(line)


def _show(values: Values, result: PruneResult, output: Path) -> None:
    if values["as_json"]:
        display.print_json({**result.to_json(), "output": {"path": str(output), **_sizes(output)}})
        return
    before, after = result.before, result.after
    rows: list[list[Any]] = [
        [name, getattr(before, name), getattr(after, name),
         display.change(getattr(before, name), getattr(after, name))]
        for name in ("params", "macs", "bytes")
    ]  # fmt: skip
    if before.metric is not None:
        rows.append([f"{before.metric} ({before.split})", before.value, after.value, ""])
    display.print_table(f"Pruned {values['model']}", ["", "before", "after", "change"], rows)
    display.print_outputs([vars(row) for row in result.metrics], ["before", "after"])
    removed = [_row(r) for r in result.removed if r.removed]
    if removed:
        display.print_table("Removed", _REMOVED, removed)
    if result.pinned:
        pinned = [[p.layer, p.reason] for p in result.pinned]
        display.print_table("Kept as they are", ["layer", "why"], pinned)
    for measured in result.measured:
        click.echo(measured.line())
    for note in result.notes:
        click.echo(f"note: {note}")
    sizes = _sizes(output)
    click.echo(
        f"zeros among kernel weights: {result.sparsity:.2%}; wrote {output}: {sizes['bytes']:,}"
        f" bytes, gzip {sizes['gzip_bytes']:,}, zstd {sizes['zstd_bytes']:,}"
    )


_REMOVED = ("group", "layers", "removed", "of", "left is a multiple of")


def _row(removed: Removed) -> list[Any]:
    return [
        removed.group,
        ", ".join(removed.layers),
        removed.removed,
        removed.of,
        removed.multiple,
    ]


def _sizes(path: Path) -> dict[str, int]:
    """What a file takes as it is and packed."""
    from edgepress.compress.kernel.files import gzip_size, zstd_size

    return {
        "bytes": path.stat().st_size,
        "gzip_bytes": gzip_size(path),
        "zstd_bytes": zstd_size(path),
    }


def _check_drop(spec: PruneSpec, dataset: Any, result: PruneResult) -> None:
    from edgepress.compress.data.metrics import fallen

    if spec.max_drop is None or dataset is None:
        return
    rows = result.metrics
    for row in fallen(rows, spec.max_drop + 1e-9):
        where = f" of output '{row.output}'" if len(rows) > 1 else ""
        raise CheckFailed(
            f"{row.metric}{where} fell from {row.source_value:.4f} to {row.value:.4f},"
            f" more than --max-drop {spec.max_drop:g} allows",
            "prune less or raise --recover-epochs",
        )
