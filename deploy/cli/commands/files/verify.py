"""`edgepress verify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.kernel.artifact import Agreement
from edgepress.compress.kernel.files import check_output
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
from edgepress.deploy.cli.valid_names import FILE_RUNTIMES

_FIGURES = Layout(("figure", "value"))
_OUTPUTS = Layout(
    ("output", "error", "tolerance", "what", "agreement", "share of", "failed"),
    ("agreement", "error", "tolerance", "failed"),
)
_LAYERS = Layout(
    ("layer", "type", "SQNR", "largest error", "likely cause"),
    ("SQNR", "largest error", "likely cause"),
)

_RUNTIMES = Layout(
    ("runtime", "verdict", "error", "tolerance", "agreement", "from first", "version"),
    ("verdict", "error", "agreement", "from first"),
)

if TYPE_CHECKING:
    from edgepress.compress.data import Dataset
    from edgepress.compress.specs.recipe import DataSpec
    from edgepress.deploy.sources.source import Source
    from edgepress.deploy.verification.in_runtimes import Bisected, RuntimeAgreement
    from edgepress.deploy.verification.layerwise import LayerReport


@click.command(cls=SectionedCommand)
@model_argument
@click.argument("artifact", metavar="ARTIFACT", type=click.Path(path_type=Path))
@data_options(required=False, skip=("augment",))
@click.option(
    "--layers", is_flag=True, help="Compare layer by layer and name the first that differs."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Plot of --layers, a .png file.")
@click.option(
    "--runtimes",
    type=FILE_RUNTIMES,
    help="Compare in these runtimes, too, on the same samples: all that are installed, or some,"
    " behind commas.",
)
@click.option(
    "--bisect",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Find the first operator that differs in one of --runtimes from LiteRT's reference kernels"
    " (from ONNX Runtime for .onnx); its inputs and outputs are written to this new folder.",
)
@click.option("--force", is_flag=True, help="Replace an existing plot.")
@table_options(_FIGURES, _OUTPUTS, _LAYERS, _RUNTIMES, OUTPUTS)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Compare ARTIFACT (.tflite, .onnx or a SavedModel folder) with MODEL, its source.

    MODEL may be such a file itself. With --data the metric of both is measured on the test split.
    Exit code 1 if they disagree, in one of --runtimes too.
    """
    spec, names, artifact = data_spec(values), _names(values), values["artifact"]
    _check_options(values, names)
    load_frameworks(values["verbose"])
    from edgepress.deploy.verification.verifying import verify

    if names:
        from edgepress.deploy.verification.in_runtimes import choose

        choose(artifact, names)
    source = open_noted(values)
    if values["layers"] and not source.is_keras:
        raise InputError(
            f"--layers compares with Keras layers: '{values['model']}' is {source.file.what} that"
            " holds none",
            "give the Keras model that it was made from",
        )
    data = _opened(source, spec, values["seed"])
    result = verify(source, artifact, data, seed=values["seed"])
    report = _compare_layers(source.model, artifact, data, values) if values["layers"] else None
    elsewhere = _in_runtimes(source, artifact, data, names, values["seed"])
    bisected = _bisect(source, artifact, data, elsewhere, values) if values["bisect"] else ()
    if values["as_json"]:
        layers = {"layers": report.to_json()} if report else {}
        runtimes = {"runtimes": [one.to_json() for one in elsewhere]} if names else {}
        parts = {"bisected": [one.to_json() for one in bisected]} if values["bisect"] else {}
        display.print_json({**result.to_json(), **layers, **runtimes, **parts})
    else:
        _show(values, result)
        _show_layers(report)
        _show_runtimes(artifact, elsewhere)
        _show_bisected(bisected)
    if not result.passed:
        raise CheckFailed(f"'{artifact}' differs from its source: {result.reason}")
    _check_runtimes(artifact, elsewhere, named="all" not in names)


def _check_options(values: Values, names: Sequence[str]) -> None:
    if not values["artifact"].exists():
        raise InputError(f"artifact '{values['artifact']}' does not exist")
    if values["plot"] and not values["layers"]:
        raise InputError("--plot draws the layers", "pass --layers")
    if values["force"] and not values["plot"]:
        raise click.UsageError("--force needs --plot")
    if values["plot"]:
        check_picture(values["plot"], values)
    if values["bisect"] and not names:
        raise InputError("--bisect compares runtimes", "pass --runtimes all")
    if values["bisect"]:
        read = [values["artifact"], values["model"], values["data"]]
        check_output(values["bisect"], folder=True, inputs=read)


def _opened(source: Source, spec: DataSpec | None, seed: int) -> Dataset | None:
    """The data, opened once for all that is compared on it."""
    from edgepress.compress import open_data

    return None if spec is None else open_data(spec, source.model, seed)


def _in_runtimes(
    source: Source, artifact: Path, data: Dataset | None, names: Sequence[str], seed: int
) -> tuple[RuntimeAgreement, ...]:
    from edgepress.deploy.verification.in_runtimes import verify_in_runtimes

    return verify_in_runtimes(source, artifact, data, runtimes=names, seed=seed) if names else ()


def _bisect(
    source: Source,
    artifact: Path,
    data: Dataset | None,
    elsewhere: Sequence[RuntimeAgreement],
    values: Values,
) -> tuple[Bisected, ...]:
    from edgepress.deploy.verification.in_runtimes import find_departures

    ran = [one.runtime for one in elsewhere if one.agreement is not None]
    return find_departures(
        source, artifact, data, runtimes=ran, seed=values["seed"], keep=values["bisect"]
    )


def _show_bisected(bisected: Sequence[Bisected]) -> None:
    from edgepress.benchmarks.number_format import significant

    for one in bisected:
        found = one.departure
        if one.reason:
            echo(f"{one.runtime}: not bisected: {one.reason}")
        elif found is None:
            echo(f"{one.runtime}: no operator differs")
        else:
            layer = f" of layer '{found.layer}'" if found.layer else ""
            echo(
                f"{one.runtime}: {found.operator}{layer} differs first (operator"
                f" {found.position + 1} of {found.operators}, tensor '{found.tensor}'), noise"
                f" {significant(found.noise)}"
            )


def _names(values: Values) -> list[str]:
    return [name.strip() for name in (values["runtimes"] or "").split(",") if name.strip()]


def _check_runtimes(artifact: Path, elsewhere: Sequence[RuntimeAgreement], named: bool) -> None:
    """Fail where the file is wrong in a runtime, or one that was named doesn't run it."""
    for one in elsewhere:
        if one.agreement is not None and not one.passed:
            why = one.agreement.reason
            raise CheckFailed(f"'{artifact}' differs from its source in {one.runtime}: {why}")
    for one in elsewhere:
        if named and one.agreement is None:
            raise CheckFailed(f"'{artifact}' does not run in {one.runtime}: {one.reason}")


def _show_runtimes(artifact: Path, elsewhere: Sequence[RuntimeAgreement]) -> None:
    """A row for each runtime, why some didn't run it, and which aren't here."""
    from edgepress.benchmarks.number_format import significant
    from edgepress.deploy.verification.in_runtimes import absent

    if not elsewhere:
        return
    rows = []
    for one in elsewhere:
        found = one.agreement
        verdict = "✗ not run" if found is None else "✓ verified" if found.passed else "✗ failed"
        figures = ["", "", ""] if found is None else [
            significant(found.max_abs_error), significant(found.tolerance),
            display.percent(found.agreement),
        ]  # fmt: skip
        apart = "" if one.from_first is None else significant(one.from_first)
        rows.append([one.runtime, verdict, *figures, apart, one.version])
    first = next((one.runtime for one in elsewhere if one.agreement), elsewhere[0].runtime)
    heads = {"error": "largest difference", "from first": f"from {first}"}
    show_table(_RUNTIMES, "In each runtime, on the same samples", rows, heads)
    for one in elsewhere:
        if one.reason:
            echo(f"{one.runtime} did not run it: {one.reason}")
    if missing := list(absent(artifact)):
        echo(f"not installed here: {', '.join(missing)}")


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
    model: Source, artifact: Path, data: Dataset | None, values: Values
) -> LayerReport:
    from edgepress.deploy.verification.layerwise import compare_layers, draw_layers

    report = compare_layers(model, artifact, data, seed=values["seed"])
    if values["plot"]:
        draw_layers(report, values["plot"])
    return report


def _show_layers(report: LayerReport | None) -> None:
    from edgepress.benchmarks.number_format import significant

    if report is None:
        return
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
