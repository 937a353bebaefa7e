"""`edgepress export`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from edgepress.compress.errors import CheckFailed
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
    model_argument,
    open_model,
    output_options,
    spec_from,
    spec_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.supervised.supervision import supervise
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options
from edgepress.deploy.specs.export import ExportSpec

_FILES = Layout(
    ("file", "bytes", "gzip", "zstd", "verified", "largest error", "error", "tolerance",
     "agreement", "metric", "source's"),
    ("bytes", "verified", "metric", "agreement", "source's", "error", "tolerance", "gzip"),
)  # fmt: skip


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=False)
@output_options(help="Folder for the files.")
@spec_options(
    ExportSpec,
    rename={**ExportSpec.flags, "graph_batch": "graph-batch"},
    aliases={"graph_batch": ("batch",)},
)
@table_options(_FILES)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Write MODEL in each of the formats and precisions (combinations that exist).

    Each file is loaded again in its own runtime and compared with MODEL; one that differs too much
    is not published, and the exit code is 1. int8 needs --data for calibration.

    MODEL may be a SavedModel without a Keras model, which is converted by its signature, or a
    .tflite or .onnx file, which is stored in other precisions.
    """
    data, options = data_spec(values), given(values, ExportSpec)
    if data is None:
        options.setdefault("quantize", "float32")
    spec = spec_from(ExportSpec, options)
    if data is not None and data.augment and not spec.qat_epochs:
        raise click.UsageError("--augment needs --qat-epochs: nothing else trains here")
    output = checked_output(values, folder=True)
    if spec.qat_epochs:
        supervise()
    load_frameworks(values["verbose"])
    from edgepress.compress import open_data
    from edgepress.deploy.exporting.export import export

    source = open_model(values)
    dataset = None if data is None else open_data(data, source.model, values["seed"])
    for warning in dataset.warnings if dataset else ():
        display.say(f"note: {warning}")
    with display.ConsoleProgress() as progress:
        result = export(
            source,
            output,
            spec=spec,
            data=dataset,
            seed=values["seed"],
            force=values["force"],
            progress=progress,
        )
    document = result.to_json()
    if values["as_json"]:
        display.print_json(document)
    else:
        show_export(document)
    if result.log:
        display.say(f"note: output of the converters: {result.log}")
    if document["failed"]:
        raise CheckFailed(_all_of(document["failed"], "not published"))
    if not document["artifacts"]:
        raise CheckFailed("nothing was exported: " + _all_of(document["skipped"], "skipped"))


def _all_of(refused: Sequence[dict[str, Any]], what: str) -> str:
    """Every file that there isn't, with its reason and what to try."""
    return "; ".join(f"{_name(r)} was {what}: {_reason(r)}" for r in refused)


def _name(refused: dict[str, Any]) -> str:
    return f"{refused['format']} {refused['quantize']}"


def _reason(refused: dict[str, Any]) -> str:
    following = f" (next: {refused['next_step']})" if refused["next_step"] else ""
    return f"{refused['reason']}{following}"


def show_export(document: dict[str, Any]) -> None:
    """The files as a table, and what was left out."""
    from edgepress.benchmarks.number_format import bytes_text, metric_text, significant

    def number(value: float | None) -> str | None:
        return None if value is None else significant(value)

    rows, metrics = [], set[str]()
    for artifact in document["artifacts"]:
        verified = artifact["verified"] or {}
        weakest, metric = _weakest(verified), verified.get("metric")
        metrics |= {metric} if metric else set()
        rows.append(
            [artifact["path"], bytes_text(artifact["bytes"]), bytes_text(artifact["gzip_bytes"]),
             bytes_text(artifact["zstd_bytes"]), "✓ verified" if verified else "not verified",
             number(verified.get("max_abs_error")), number(weakest.get("error")),
             number(weakest.get("tolerance")), display.percent(verified.get("agreement")),
             metric_text(metric, verified.get("value")),
             metric_text(metric, verified.get("source_value"))]
        )  # fmt: skip
    show_table(
        _FILES,
        "Exported files, each compared with its source",
        rows,
        {"verified": "", "metric": metrics.pop() if len(metrics) == 1 else "metric"},
    )
    for line in dict.fromkeys(_definitions(document["artifacts"])):
        echo(line)
    for note in document["notes"]:
        echo(f"note: {note}")
    for skip in document["skipped"]:
        echo(f"skipped {_name(skip)}: {_reason(skip)}")
    for failure in document["failed"]:
        echo(f"not published {_name(failure)}: {_reason(failure)}")


def _weakest(verified: dict[str, Any]) -> dict[str, Any]:
    """The output whose error comes nearest to its tolerance."""
    return max(
        verified.get("outputs") or ({},),
        key=lambda row: row["error"] / row["tolerance"] if row else 0.0,
    )


def _definitions(artifacts: list[dict[str, Any]]) -> Iterator[str]:
    """What the figures of the table were taken on, and what they mean."""
    for artifact in artifacts:
        if artifact["verified"]:
            yield f"compared on {display.compared_on(artifact['verified'])}"
    for artifact in artifacts:
        verified = artifact["verified"] or {}
        outputs = verified.get("outputs") or ()
        if not outputs:
            continue
        error = _weakest(verified)["bounded"]
        of = "spread of" if error == "noise" else "largest value of"
        yield f"{artifact['quantize']}: error is the {error} over the {of} the output"
        least = min(outputs, key=lambda row: row["agreement"])
        yield f"agreement on '{least['name']}': share of {least['definition']}"
