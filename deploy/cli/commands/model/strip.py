"""`edgepress strip`."""

from __future__ import annotations

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    checked_model_output,
    common_options,
    keyword_values,
    load_model,
    model_argument,
    output_options,
)
from edgepress.deploy.cli.quiet import load_frameworks


@click.command(cls=SectionedCommand)
@model_argument
@output_options(help="The plain model, a .keras file.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Remove from MODEL pruning, clustering and quantisation wrappers and training-only parts."""
    output = checked_model_output(values)
    load_frameworks(values["verbose"])
    from edgepress.compress import inspect, save, strip

    plain = strip(load_model(values))
    save(plain, output, values["force"])
    found = inspect(plain).to_json()
    document = {k: found[k] for k in ("params", "macs", "bytes", "sparsity")}
    if values["as_json"]:
        display.print_json({"output": str(output), **document})
        return
    from edgepress.benchmarks.number_format import bytes_text, counted, share_text

    echo(
        f"wrote {output}: {counted(found['params'], 'parameter')},"
        f" {bytes_text(output.stat().st_size)}, sparsity {share_text(found['sparsity'])}"
    )
