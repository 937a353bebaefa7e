"""`edgepress advise`."""

from __future__ import annotations

from typing import Any

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    data_options,
    data_spec,
    keyword_values,
    load_model,
    model_argument,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options

_ADVICE = Layout(("setting", "value", "because"))


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=True)
@click.option(
    "--similarity",
    type=click.Choice(["similar", "different"]),
    help="Whether the task resembles the one MODEL was trained for; measured by default.",
)
@table_options(_ADVICE)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Suggest which layers of MODEL to unfreeze and how to train them, with reasons."""
    data = data_spec(values)
    load_frameworks(values["verbose"])
    from edgepress.compress.training.advice import advise

    document = advise(
        load_model(values), data, similarity=values["similarity"], seed=values["seed"]
    ).to_json()
    if values["as_json"]:
        display.print_json(document)
        return
    show_table(
        _ADVICE,
        f"Fine-tuning {values['model']}: {document['samples_per_class']:.0f} samples a class,"
        f" task {document['similarity']}",
        [[line["setting"], _text(line["value"]), line["reason"]] for line in document["lines"]],
    )
    echo("as options: edgepress finetune … " + " ".join(_options(document["finetune"])))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _options(settings: dict[str, Any]) -> list[str]:
    """The settings as the command line takes them."""
    return [
        f"--{name.replace('_', '-')} {one}"
        for name, value in settings.items()
        for one in (value if isinstance(value, list | tuple) else [value])
    ]
