"""`edgepress prune`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.compress.errors import CheckFailed
from edgepress.compress.kernel.context import Context
from edgepress.compress.kernel.files import check_distinct
from edgepress.compress.kernel.onednn import crash_notes
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.pruning_result import PruneResult, Removed
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
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
from edgepress.deploy.cli.supervised.training_state import (
    going_on,
    may_replace,
    published,
    state_folder,
    training_state,
)
from edgepress.deploy.cli.tables.layouts import BEFORE_AFTER, OUTPUTS, show_outputs
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options

_REMOVED = Layout(
    ("group", "layers", "removed", "of", "multiple"), ("removed", "of", "layers", "multiple")
)
_PINNED = Layout(("layer", "why"))

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset
    from edgepress.compress.specs.recipe import DataSpec


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
@table_options(BEFORE_AFTER, OUTPUTS, _REMOVED, _PINNED)
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
    output = checked_model_output(values, may_replace(values, Path(values["output"])))
    check_distinct(output, spec.recover.log_csv, spec.recover.log_tensorboard, state_folder(output))
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
        with published(values, output) as (file,):
            save(result.model, file)
    result = dataclasses.replace(result, notes=(*result.notes, *crash_notes()))
    if dataset is not None and not spec.recover.epochs:
        display.say("note: nothing was trained after pruning; --recover-epochs 10 recovers most")
    _show(values, result, output)
    _check_drop(spec, dataset, result)


def _preview(values: Values, spec: PruneSpec, data: DataSpec | None) -> None:
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
    from edgepress.benchmarks.number_format import count_text
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
    macs, params = (" to ".join(map(count_text, pair)) for pair in (plan.macs, plan.params))
    show_table(
        _REMOVED,
        f"Plan for {values['model']}: MACs {macs}, parameters {params}",
        [_row(r) for r in plan.removals()],
    )
    for measured in plan.measured:
        echo(measured.line())
    for note in uncounted_notes(plan.uncounted, spec.target_macs is not None):
        echo(f"note: {note}")


def _explain(
    values: Values, spec: ChannelsSpec, model: keras.Model, dataset: Dataset | None
) -> None:
    from edgepress.compress.structure.explanation import explain
    from edgepress.deploy.benchmarking.measurers import instruments_for

    with instruments_for(spec) as instruments:
        found = explain(model, values["explain"], spec, dataset, values["seed"], instruments)
    if values["as_json"]:
        display.print_json([dataclasses.asdict(e) for e in found])
        return
    for explanation in found:
        for line in explanation.lines():
            echo(line)


def _show(values: Values, result: PruneResult, output: Path) -> None:
    if values["as_json"]:
        display.print_json({**result.to_json(), "output": {"path": str(output), **_sizes(output)}})
        return
    from edgepress.benchmarks.number_format import bytes_text, share_text

    _show_figures(values, result)
    show_outputs([vars(row) for row in result.metrics], ("before", "after"))
    removed = [_row(r) for r in result.removed if r.removed]
    if removed:
        show_table(_REMOVED, "Removed", removed)
    if result.pinned:
        pinned = [[p.layer, p.reason] for p in result.pinned]
        show_table(_PINNED, "Kept as they are", pinned)
    for measured in result.measured:
        echo(measured.line())
    for note in result.notes:
        echo(f"note: {note}")
    sizes = {name: bytes_text(size) for name, size in _sizes(output).items()}
    echo(
        f"zeros among kernel weights: {share_text(result.sparsity)}; wrote {output}:"
        f" {sizes['bytes']}, gzip {sizes['gzip_bytes']}, zstd {sizes['zstd_bytes']}"
    )


def _show_figures(values: Values, result: PruneResult) -> None:
    """The table before and after, in the words of a run's page."""
    from edgepress.benchmarks.number_format import (
        bytes_text,
        change_text,
        count_text,
        metric_change,
        metric_text,
    )

    before, after = result.before, result.after
    rows = [
        [title, text(getattr(before, name)), text(getattr(after, name)),
         change_text(getattr(before, name), getattr(after, name))]
        for name, title, text in (
            ("params", "parameters", count_text),
            ("macs", "MACs", count_text),
            ("bytes", "weights", bytes_text),
        )
    ]  # fmt: skip
    metric = before.metric
    if metric is not None:
        rows.append(
            [f"{metric} ({before.split})", metric_text(metric, before.value),
             metric_text(metric, after.value), metric_change(metric, before.value, after.value)]
        )  # fmt: skip
    show_table(BEFORE_AFTER, f"Pruned {values['model']}", rows, {"figure": ""})


def _row(removed: Removed) -> list[Any]:
    """A channel group in the columns of `_REMOVED`; what is left is a multiple of the last."""
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


def _check_drop(spec: PruneSpec, dataset: Dataset | None, result: PruneResult) -> None:
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
