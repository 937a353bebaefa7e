"""`edgepress sensitivity`."""

from __future__ import annotations

import click

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output
from edgepress.compress.specs.notation import parse_numbers
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
    load_model,
    model_argument,
    output_options,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.supervised.supervision import supervise
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options
from edgepress.deploy.cli.valid_names import CHANNEL_CRITERION

_GROUPS = Layout(("group", "removed", "metric", "change", "MACs saved"))


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=True)
@output_options(required=False, help="Plot, a .png file.")
@click.option(
    "--ratios", default="0.25,0.5,0.75", show_default=True, help="Shares of a group to remove."
)
@click.option(
    "--criterion",
    default="auto",
    show_default=True,
    type=CHANNEL_CRITERION,
    help="Importance criterion.",
)
@click.option("--samples", default=1000, show_default=True, help="Most samples to measure on.")
@table_options(_GROUPS)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Measure how much the metric of MODEL falls when each channel group alone is pruned."""
    data, ratios, output = data_spec(values), _ratios(values["ratios"]), values["output"]
    if output is not None:
        check_picture(output, values)
    supervise()
    load_frameworks(values["verbose"])
    from edgepress.compress.structure.sensitivity import sensitivity

    with display.ConsoleProgress() as progress:
        found = sensitivity(
            load_model(values),
            data,
            ratios=ratios,
            criterion=values["criterion"],
            samples=values["samples"],
            seed=values["seed"],
            progress=progress,
        )
    if output is not None:
        with atomic_output(output, values["force"]) as temporary:
            found.plot(temporary)
    document = found.to_json()
    if values["as_json"]:
        display.print_json(document)
        return
    from edgepress.benchmarks.number_format import counted, metric_change, metric_text

    metric, before = found.metric, found.before
    show_table(
        _GROUPS,
        f"{metric} of {values['model']}: {metric_text(metric, before)} on"
        f" {counted(found.samples, 'sample')} ({found.split})",
        [
            [row.group, f"{100 * row.ratio:.0f} %", metric_text(metric, row.value),
             metric_change(metric, before, row.value), display.percent(row.macs)]
            for row in found.rows
        ],
        {"metric": metric},
    )  # fmt: skip
    if output is not None:
        echo(f"wrote {output}")


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios: tuple[float, ...] = parse_numbers(text)
    except ValueError:
        ratios = ()
    if not ratios or not all(0 < ratio < 1 for ratio in ratios):
        raise InputError(f"--ratios {text}: give shares between 0 and 1, such as 0.25,0.5")
    return ratios
