"""`edgepress verify`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepress.compress.errors import CheckFailed, InputError
from edgepress.deploy.cli import display
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


@click.command()
@model_argument
@click.argument("artifact", metavar="ARTIFACT", type=click.Path(path_type=Path))
@data_options(required=False)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Compare ARTIFACT (.tflite or .onnx) with MODEL, its Keras source.

    With --data the task's metric of both is measured on the test split. Exit code 1 when they
    disagree.
    """
    data = data_spec(values)
    artifact = values["artifact"]
    if not artifact.is_file():
        raise InputError(f"artifact '{artifact}' does not exist")
    load_frameworks(values["verbose"])
    from edgepress.deploy.verify import verify

    result = verify(load_model(values), artifact, data, seed=values["seed"])
    if values["as_json"]:
        display.print_json(result.to_json())
    else:
        display.print_table(
            f"{artifact} against {values['model']}, {result.samples:,} samples",
            ["", "value"],
            [
                ["largest difference", result.max_abs_error],
                ["mean difference", result.mean_abs_error],
                ["agreement", display.percent(result.agreement)],
                [f"{result.metric or 'metric'} of the file", result.value],
                [f"{result.metric or 'metric'} of the source", result.source_value],
                ["verdict", "verified" if result.passed else "failed"],
            ],
        )
    if not result.passed:
        raise CheckFailed(f"'{artifact}' departs from its source: {result.reason}")
