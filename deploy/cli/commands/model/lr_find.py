"""`edgepress lr-find`."""

from __future__ import annotations

import click

from edgepress.compress.specs.training import NOT_OF_RANGE_TEST, FinetuneSpec
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    check_picture,
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


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=True)
@output_options(required=False, help="Plot of the curve, a .png file.")
@click.option("--lowest", default=1e-7, show_default=True, help="First learning rate.")
@click.option("--highest", default=10.0, show_default=True, help="Last learning rate.")
@click.option(
    "--steps",
    default=100,
    show_default=True,
    help="Training steps from the first rate to the last.",
)
@spec_options(FinetuneSpec, skip=NOT_OF_RANGE_TEST)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Find a learning rate for MODEL: train with a rising learning rate and watch the loss."""
    data, output = data_spec(values), values["output"]
    if output is not None:
        check_picture(output, values)
    supervise()
    load_frameworks(values["verbose"])
    from edgepress.compress.training.lr_range import draw_range, lr_find

    with display.ConsoleProgress() as progress:
        progress.stage("learning-rate range test")
        found = lr_find(
            load_model(values),
            data,
            lowest=values["lowest"],
            highest=values["highest"],
            steps=values["steps"],
            seed=values["seed"],
            progress=progress,
            **given(values, FinetuneSpec, NOT_OF_RANGE_TEST),
        )
    if output is not None:
        draw_range(found, output)
    document = found.to_json()
    if values["as_json"]:
        display.print_json(document)
        return
    echo(f"suggested learning rate: {document['suggestion']:.3g}")
    if output is not None:
        echo(f"wrote {output}")
