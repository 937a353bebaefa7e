"""`edgepress doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgepress.compress.errors import CheckFailed
from edgepress.deploy.cli import display
from edgepress.deploy.cli.help_sections import SectionedCommand
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

if TYPE_CHECKING:
    from edgepress.compress.doctor import Diagnosis


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=False)
@click.option("--strict", is_flag=True, help="Exit with code 1 if a problem is found.")
@click.option(
    "--runtime", help="List the operators that this runtime lacks: tflm, litert or onnxruntime."
)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Find problems of MODEL, the data and the environment within seconds.

    A problem is not a failure, since it may concern a step or format that you don't use: the exit
    code is 0 unless --strict is given.
    """
    data = data_spec(values)
    load_frameworks(values["verbose"])
    from edgepress.deploy.doctor import doctor

    diagnosis = doctor(open_model(values), data, seed=values["seed"], runtime=values["runtime"])
    if values["as_json"]:
        display.print_json(diagnosis.to_json())
    else:
        _show(values, diagnosis)
    if values["strict"] and not diagnosis.healthy:
        worst = diagnosis.findings[0]
        raise CheckFailed(f"'{values['model']}' has a problem: {worst.message}", worst.hint)


def _show(values: Values, diagnosis: Diagnosis) -> None:
    findings = diagnosis.to_json()["findings"]
    if not findings:
        click.echo(f"nothing found against {values['model']}")
        return
    display.print_table(
        f"What to know about {values['model']}",
        list(findings[0]),
        [[str(value) for value in finding.values()] for finding in findings],
    )
