"""`edgepress inspect`."""

from __future__ import annotations

import click

from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    keyword_values,
    load_model,
    model_argument,
)
from edgepress.deploy.cli.quiet import load_frameworks


@click.command()
@model_argument
@common_options
@keyword_values
def command(values: Values) -> None:
    """Show MODEL's layers, parameters, MACs, bytes, sparsity and channel groups.

    "Coded bytes" is what kernels would take if each value were coded by how often it occurs
    (their entropy, and the table of values): small after pruning and clustering.
    """
    load_frameworks(values["verbose"])
    from edgepress.compress import inspect

    found = inspect(load_model(values)).to_json()
    if values["as_json"]:
        display.print_json(found)
        return
    display.print_table(
        f"{values['model']}: {found['params']:,} parameters ({found['trainable_params']:,}"
        f" trainable), {found['macs']:,} MACs, {found['bytes']:,} bytes,"
        f" sparsity {found['sparsity']:.1%}, kernels coded by frequency"
        f" {found['entropy_bytes']:,} bytes",
        ["layer", "type", "params", "macs", "trainable", "sparsity", "coded bytes"],
        [
            [
                layer["name"],
                layer["type"],
                layer["params"],
                layer["macs"],
                layer["trainable"],
                display.percent(layer["sparsity"]),
                layer["entropy_bytes"],
            ]
            for layer in found["layers"]
        ],
    )
    display.print_table(
        "Channel groups: what is removed together",
        ["group", "channels", "layers", "prunable", "reason"],
        [
            [g["id"], g["channels"], ", ".join(g["layers"]), g["prunable"], g["reason"] or ""]
            for g in found["groups"]
        ],
    )
