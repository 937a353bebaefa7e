"""`edgepress unfreeze-search`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.compress.kernel.files import write_json
from edgepress.compress.specs.training import NOT_OF_SEARCH, FinetuneSpec
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    checked_output,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    load_model,
    model_argument,
    output_options,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.supervised.supervision import supervise
from edgepress.deploy.cli.supervised.training_state import (
    going_on,
    may_replace,
    published,
    training_state,
)
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options
from edgepress.deploy.cli.valid_names import NamedValue

_STEPS = Layout(("step", "metric", "trainable", "took", "layers"), ("metric", "trainable", "took"))


@click.command("unfreeze-search", cls=SectionedCommand)
@model_argument
@data_options(required=True)
@output_options(help="Folder for the best model, the table (search.json) and the plot.")
@click.option(
    "--strategies",
    default="",
    type=NamedValue(lambda: {"": ("top", "middle", "bottom", "all")}),
    metavar="NAME,…",
    help="Compare these strategies instead.",
)
@spec_options(FinetuneSpec, skip=NOT_OF_SEARCH)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint of a stopped call.")
@table_options(_STEPS)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Unfreeze MODEL step by step from the output side, validate each step and keep the best."""
    data = data_spec(values)
    output = checked_output(values, True, may_replace(values, Path(values["output"])))
    supervise(going_on(output))
    load_frameworks(values["verbose"])
    from edgepress.compress import save
    from edgepress.compress.training.progressive import draw_search, unfreeze_search

    with training_state(output, values["resume"]) as state, display.ConsoleProgress() as progress:
        found = unfreeze_search(
            load_model(values),
            data,
            strategies=values["strategies"] or (),
            seed=values["seed"],
            state_dir=state,
            progress=progress,
            **given(values, FinetuneSpec, NOT_OF_SEARCH),
        )
        document = found.to_json()
        with published(values, output, folder=True) as (folder,):
            folder.mkdir(parents=True)
            save(found.model, folder / "model.keras")
            write_json(folder / "search.json", document)
            draw_search(found, folder / "search.png")
    if values["as_json"]:
        display.print_json(document)
        return
    _show(values, document)


def _show(values: Values, document: dict[str, Any]) -> None:
    from edgepress.benchmarks.number_format import count_text, metric_text, seconds_text

    metric = document["metric"]
    show_table(
        _STEPS,
        f"Depths tried on {values['model']}",
        [
            [step["name"], metric_text(metric, step["value"]), count_text(step["trainable_params"]),
             seconds_text(step["seconds"]), ", ".join(step["unfrozen"])]
            for step in document["steps"]
        ],
        {"metric": f"{metric} (val)"},
    )  # fmt: skip
    echo(
        f"best: {document['best']}; {metric} ({document['split']})"
        f" {metric_text(metric, document['before'])} before,"
        f" {metric_text(metric, document['after'])} after; wrote {values['output']}"
    )
