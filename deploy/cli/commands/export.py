"""`edgepress export`."""

from __future__ import annotations

from typing import Any

import click

from edgepress.compress.errors import CheckFailed
from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    checked_output,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    model_argument,
    open_model,
    output_options,
    spec_from,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.recipe import ExportSpec


@click.command()
@model_argument
@data_options(required=False)
@output_options(help="Folder for the files.")
@spec_options(ExportSpec, rename={"formats": "format", "shapes": "shape", "graph_batch": "batch"})
@common_options
@keyword_values
def command(values: Values) -> None:
    """Write MODEL as every combination of the formats and precisions that exists.

    Each file is loaded again in its own runtime and compared with MODEL; one that departs is not
    published and gives exit code 1. int8 needs --data for its calibration.

    MODEL may be a SavedModel without a Keras model, which is converted by its signature, or a
    finished .tflite or .onnx file, which is stored in other precisions.
    """
    data, options = data_spec(values), given(values, ExportSpec)
    if data is None:
        options.setdefault("quantize", "float32")
    spec = spec_from(ExportSpec, options)
    if data is not None and data.augment and not spec.qat_epochs:
        raise click.UsageError("--augment needs --qat-epochs: nothing else trains here")
    output = checked_output(values, folder=True)
    load_frameworks(values["verbose"])
    from edgepress.compress import open_data
    from edgepress.deploy.exporting import export

    source = open_model(values)
    dataset = None if data is None else open_data(data, source.model, values["seed"])
    for warning in dataset.warnings if dataset else ():
        display.say(f"note: {warning}")
    with display.ConsoleProgress() as progress:
        result = export(
            source,
            output,
            data=dataset,
            seed=values["seed"],
            force=values["force"],
            progress=progress,
            **spec.model_dump(),
        )
    document = result.to_json()
    if values["as_json"]:
        display.print_json(document)
    else:
        show_export(document)
    if result.log:
        display.say(f"note: what the converters printed: {result.log}")
    if document["failed"]:
        first = document["failed"][0]
        raise CheckFailed(
            f"{first['format']} {first['quantize']} was not published: {first['reason']}"
        )
    if not document["artifacts"]:
        first = document["skipped"][0]
        raise CheckFailed(
            f"nothing was exported: {first['format']} {first['quantize']}: {first['reason']}"
        )


def show_export(document: dict[str, Any]) -> None:
    """The files as a table, and what was left out."""
    rows = []
    for artifact in document["artifacts"]:
        verified = artifact["verified"] or {}
        agreement = verified.get("agreement")
        rows.append(
            [artifact["path"], artifact["bytes"], artifact["gzip_bytes"], artifact["zstd_bytes"],
             "verified" if verified else "not verified", verified.get("max_abs_error"),
             None if agreement is None else display.percent(agreement), verified.get("value"),
             verified.get("source_value")]
        )  # fmt: skip
    display.print_table(
        "Exported files, each compared with its source",
        ["file", "bytes", "gzip", "zstd", "", "max error", "agreement", "metric", "source's"],
        rows,
    )
    for note in document["notes"]:
        click.echo(f"note: {note}")
    for skip in document["skipped"]:
        click.echo(f"skipped {skip['format']} {skip['quantize']}: {skip['reason']}")
