"""`edgepress finetune`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import CheckFailed
from edgepress.compress.kernel.files import check_distinct, check_output
from edgepress.compress.kernel.onednn import crash_notes
from edgepress.compress.specs.recipe import FinetuneSpec
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
    read_by,
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
from edgepress.deploy.cli.tables.printing import show_table, table_options


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=True)
@output_options(
    help="The fine-tuned model, a .keras file; history and curves are written beside it."
)
@spec_options(FinetuneSpec)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint of a stopped call.")
@table_options(BEFORE_AFTER, OUTPUTS)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Train chosen layers of MODEL; writes OUT, its history (.json) and curves (.png)."""
    spec = spec_from(FinetuneSpec, given(values, FinetuneSpec))
    data = data_spec(values)
    output = checked_model_output(values, may_replace(values, Path(values["output"])))
    beside = (output.with_suffix(".json"), output.with_suffix(".png"))
    for path in beside:
        check_output(path, may_replace(values, path), inputs=read_by(values))
    check_distinct(output, *beside, spec.log_csv, spec.log_tensorboard, state_folder(output))
    supervise(replace(going_on(output), again=spec.distribute != "multi-worker"))
    load_frameworks(values["verbose"], _joining(spec))
    from edgepress.benchmarks.number_format import counted
    from edgepress.compress import load, open_data, save
    from edgepress.compress.kernel.files import write_json
    from edgepress.compress.training import finetune_as
    from edgepress.compress.training.curves import draw_curves

    model = load_model(values)
    teacher = None if spec.teacher is None else load(spec.teacher)
    dataset = open_data(data, model, values["seed"], teacher)
    for warning in dataset.warnings:
        display.say(f"note: {warning}")
    chief = _is_chief(spec)
    with _state(output, values["resume"], chief) as state, display.ConsoleProgress() as progress:
        epochs = counted(spec.epochs, "epoch")
        progress.stage(f"fine-tune for {epochs} ({dataset.task.text()})")
        result = finetune_as(
            spec,
            model,
            dataset,
            teacher=teacher,
            seed=values["seed"],
            state_dir=state,
            progress=progress,
        )
        document = result.to_json()
        document["notes"] = [*document["notes"], *crash_notes()]
        if not chief:
            display.say(f"this worker's share is done; the first worker writes '{output}'")
            return
        with published(values, output, *beside) as (file, table, curves):
            save(result.model, file)
            write_json(table, document)
            draw_curves(document["history"], curves)
    _show(values, document, output)
    if document["diverged"]:
        raise CheckFailed(
            f"the training diverged: {document['diverged']}",
            f"'{output}' has the last good weights",
        )


def _joining(spec: FinetuneSpec) -> Callable[[], None] | None:
    """What connects this process with other workers, where that is asked for."""
    if spec.distribute != "multi-worker":
        return None

    def join() -> None:
        from edgepress.compress.training.loop.distribution import join_workers

        join_workers()

    return join


def _is_chief(spec: FinetuneSpec) -> bool:
    """Whether this process writes what comes out."""
    from edgepress.compress.training.loop.distribution import is_chief

    return spec.distribute != "multi-worker" or is_chief()


@contextmanager
def _state(output: Path, resume: bool, chief: bool) -> Iterator[Path]:
    """The folder for checkpoints; workers behind the first only read there."""
    if chief:
        with training_state(output, resume) as folder:
            yield folder
        return
    yield state_folder(output)


def _show(values: Values, document: dict[str, Any], output: Path) -> None:
    if values["as_json"]:
        display.print_json(document)
        return
    from edgepress.benchmarks.number_format import metric_change, metric_text

    metric, before, after = document["metric"], document["before"], document["after"]
    show_table(
        BEFORE_AFTER,
        f"Fine-tuned {values['model']}",
        [
            [f"{metric} ({document['split']})", metric_text(metric, before),
             metric_text(metric, after), metric_change(metric, before, after)]
        ],
        {"figure": ""},
    )  # fmt: skip
    show_outputs(document["metrics"], ("before", "after"))
    diagnosis = [d for d in document.get("diagnosis", []) if d["advice"] not in document["notes"]]
    for note in [*document["notes"], *map(_advice, diagnosis)]:
        echo(f"note: {note}")
    echo(f"trained layers: {', '.join(document['unfrozen']) or 'none'}")
    echo(f"wrote {output}, {output.with_suffix('.json')}, {output.with_suffix('.png')}")


def _advice(diagnosis: dict[str, Any]) -> str:
    """A diagnosis of the curves as a remark."""
    return f"{diagnosis['finding']} from epoch {diagnosis['epoch']}: {diagnosis['advice']}"
