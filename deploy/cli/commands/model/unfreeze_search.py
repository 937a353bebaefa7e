"""`edgepress unfreeze-search`."""

from __future__ import annotations

import click

from edgepress.compress.kernel.files import atomic_output, write_json
from edgepress.compress.specs.training import NOT_OF_SEARCH, FinetuneSpec
from edgepress.deploy.cli import display
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
from edgepress.deploy.cli.supervised.training_state import going_on, training_state


@click.command("unfreeze-search", cls=SectionedCommand)
@model_argument
@data_options(required=True)
@output_options(help="Folder for the best model, the table (search.json) and the plot.")
@click.option(
    "--strategies", default="", help="Compare these strategies instead, as top,middle,bottom,all."
)
@spec_options(FinetuneSpec, skip=NOT_OF_SEARCH)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint of a stopped call.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Unfreeze MODEL step by step from the output side, validate each step and keep the best."""
    data = data_spec(values)
    output = checked_output(values, folder=True)
    supervise(going_on(output))
    load_frameworks(values["verbose"])
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
        with atomic_output(output, values["force"], folder=True) as folder:
            folder.mkdir(parents=True)
            found.model.save(folder / "model.keras")
            write_json(folder / "search.json", document)
            draw_search(found, folder / "search.png")
    if values["as_json"]:
        display.print_json(document)
        return
    columns = list(document["steps"][0])
    display.print_table(
        f"Depths tried on {values['model']}",
        columns,
        [[_text(step[c]) for c in columns] for step in document["steps"]],
    )
    click.echo(
        f"best: {document['best']}; {document['metric']} ({document['split']})"
        f" {document['before']:.4f} before, {document['after']:.4f} after; wrote {output}"
    )


def _text(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
