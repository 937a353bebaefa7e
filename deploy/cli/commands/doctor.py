"""`edgepress doctor`."""

from __future__ import annotations

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    data_options,
    data_spec,
    keyword_values,
    model_argument,
    open_model,
)
from edgepress.deploy.cli.quiet import load_frameworks


@click.command()
@model_argument
@data_options(required=False)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Find in seconds what will be a problem later, in MODEL, the data and the environment."""
    data = data_spec(values)
    load_frameworks(values["verbose"])
    from edgepress.deploy.doctor import doctor

    document = doctor(open_model(values), data, seed=values["seed"]).to_json()
    if values["as_json"]:
        display.print_json(document)
        return
    findings = document["findings"]
    if not findings:
        click.echo(f"nothing found against {values['model']}")
        return
    display.print_table(
        f"What to know about {values['model']}",
        list(findings[0]),
        [[str(value) for value in finding.values()] for finding in findings],
    )
