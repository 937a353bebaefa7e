"""`edgepress verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.kernel.artifact import Agreement
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    check_picture,
    common_options,
    data_options,
    data_spec,
    keyword_values,
    model_argument,
    open_noted,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.tables.layouts import OUTPUTS, show_outputs
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options

_FIGURES = Layout(("figure", "value"))
_OUTPUTS = Layout(
    ("output", "error", "tolerance", "what", "agreement", "share of", "failed"),
    ("agreement", "error", "tolerance", "failed"),
)
_LAYERS = Layout(
    ("layer", "type", "SQNR", "largest error", "likely cause"),
    ("SQNR", "largest error", "likely cause"),
)

if TYPE_CHECKING:
    from edgepress.compress.specs.recipe import DataSpec
    from edgepress.deploy.sources.source import Source
    from edgepress.deploy.verification.layerwise import LayerReport


@click.command(cls=SectionedCommand)
@model_argument
@click.argument("artifact", metavar="ARTIFACT", type=click.Path(path_type=Path))
@data_options(required=False, skip=("augment",))
@click.option(
    "--layers", is_flag=True, help="Compare layer by layer and name the first that differs."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Plot of --layers, a .png file.")
@click.option("--force", is_flag=True, help="Replace an existing plot.")
@table_options(_FIGURES, _OUTPUTS, _LAYERS, OUTPUTS)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Compare ARTIFACT (.tflite, .onnx or a SavedModel folder) with MODEL, its source.

    MODEL may be such a file itself. With --data the metric of both is measured on the test split.
    Exit code 1 if they disagree.
    """
    data = data_spec(values)
    artifact = values["artifact"]
    if not artifact.exists():
        raise InputError(f"artifact '{artifact}' does not exist")
    if values["plot"] and not values["layers"]:
        raise InputError("--plot draws the layers", "pass --layers")
    if values["force"] and not values["plot"]:
        raise click.UsageError("--force needs --plot")
    if values["plot"]:
        check_picture(values["plot"], values)
    load_frameworks(values["verbose"])
    from edgepress.deploy.verification.verifying import verify

    source = open_noted(values)
    if values["layers"] and not source.is_keras:
        raise InputError(
            f"--layers compares with Keras layers: '{values['model']}' is {source.file.what} that"
            " holds none",
            "give the Keras model that it was made from",
        )
    result = verify(source, artifact, data, seed=values["seed"])
    report = _compare_layers(source.model, artifact, data, values) if values["layers"] else None
    if values["as_json"]:
        layers = {"layers": report.to_json()} if report else {}
        display.print_json({**result.to_json(), **layers})
    else:
        _show(values, result)
        if report:
            _show_layers(report)
    if not result.passed:
        raise CheckFailed(f"'{artifact}' differs from its source: {result.reason}")


def _show(values: Values, result: Agreement) -> None:
    from edgepress.benchmarks.number_format import metric_text, significant

    metric = result.metric or "metric"
    figures = [
        ["largest difference", significant(result.max_abs_error)],
        ["mean difference", significant(result.mean_abs_error)],
        ["tolerance", significant(result.tolerance)],
        ["agreement", display.percent(result.agreement)],
        [f"{metric} of the file", metric_text(metric, result.value)],
        [f"{metric} of the source", metric_text(metric, result.source_value)],
        ["verdict", "✓ verified" if result.passed else "✗ failed"],
    ]
    show_table(
        _FIGURES,
        f"{values['artifact']} against {values['model']}, {display.compared_on(vars(result))}",
        figures if result.metric else [row for row in figures if not row[0].startswith("metric")],
        {"figure": ""},
    )
    show_outputs([vars(row) for row in result.metrics], ("source", "file"))
    _show_outputs(result)
    for doubt in result.doubts:
        echo(f"note: {doubt}")


def _show_outputs(result: Agreement) -> None:
    """A row for each output, what its figures mean, and the class that lost most."""
    from edgepress.benchmarks.number_format import counted, share_text, significant

    show_table(
        _OUTPUTS,
        "Output by output",
        [
            [
                o.name, significant(o.error), significant(o.tolerance), o.bounded,
                display.percent(o.agreement), o.definition,
                ", ".join(o.slices) if o.slices else ("" if o.passed else "all"),
            ]
            for o in result.outputs
        ],
    )  # fmt: skip
    if {o.bounded for o in result.outputs} == {"noise"}:
        echo("noise: root mean square of the differences over the spread of the outputs")
    worst = result.worst_class
    if worst is not None:
        echo(
            f"class that lost most: '{worst.name}' of output '{worst.output}', recall"
            f" {share_text(worst.source_recall)} to {share_text(worst.recall)} of"
            f" {counted(worst.samples, 'sample')} (95 % interval of the fall"
            f" {share_text(worst.low)} to {share_text(worst.high)})"
        )


def _compare_layers(
    model: Source, artifact: Path, data: DataSpec | None, values: Values
) -> LayerReport:
    from edgepress.deploy.verification.layerwise import compare_layers, draw_layers

    report = compare_layers(model, artifact, data, seed=values["seed"])
    if values["plot"]:
        draw_layers(report, values["plot"])
    return report


def _show_layers(report: LayerReport) -> None:
    from edgepress.benchmarks.number_format import significant

    show_table(
        _LAYERS,
        f"Layer by layer; below {report.threshold_db:.0f} dB a layer differs",
        [
            [r.layer, r.type, f"{r.sqnr_db:.1f} dB", significant(r.max_abs_error), r.cause]
            for r in report.layers
        ],
    )
    if report.fused:
        echo(f"fused into a neighbour: {', '.join(report.fused)}")
    if report.worst:
        echo(f"worst: {report.worst.layer}, {report.worst.sqnr_db:.1f} dB")
    first = report.first
    echo(f"first to differ: {first.layer if first else 'none'}")
