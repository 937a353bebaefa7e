"""`edgepress inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgepress.compress.models.other_kinds import other_kind
from edgepress.deploy.cli import display
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    keyword_values,
    model_argument,
    open_noted,
)
from edgepress.deploy.cli.quiet import load_frameworks


@click.command(cls=SectionedCommand)
@model_argument
@click.option(
    "--runtime", help="List the operators that this runtime lacks: tflm, litert or onnxruntime."
)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Show MODEL's layers, parameters, MACs, bytes, sparsity and channel groups.

    "Coded bytes" is the size of the kernels after entropy coding (with the table of values): small
    after pruning and clustering.

    MODEL may be a .tflite or .onnx file or a SavedModel without a Keras model: its operators are
    shown, with its inputs and outputs.
    """
    source: Any = Path(values["model"])
    if other_kind(source) is None:
        load_frameworks(values["verbose"])
        asked = values["custom_objects"] or values["unsafe_lambda"]
        if asked or source.suffix != ".keras" or not source.is_file():
            source = open_noted(values)
    from edgepress.deploy.sources.inspection import inspect

    found = inspect(source, values["runtime"]).to_json()
    if values["as_json"]:
        display.print_json(found)
    elif "kind" not in found:
        _show_keras(values["model"], found)
    else:
        _show_file(values["model"], found)


def _show_keras(name: str, found: dict[str, Any]) -> None:
    display.print_table(
        f"{name}: {found['params']:,} parameters ({found['trainable_params']:,}"
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
    for left_out in found["uncounted"]:
        click.echo(
            f"note: the MACs of '{left_out['layer']}' are not all counted: {left_out['reason']}"
        )


def _show_file(name: str, found: dict[str, Any]) -> None:
    display.print_table(
        f"{name}, {found['kind']}, {found['quantize']}: {found['params']:,} parameters,"
        f" {found['macs']:,} MACs, {found['bytes']:,} bytes, sparsity {found['sparsity']:.1%}",
        ["operator", "type", "params", "macs", "bytes", "weights", "gives", "shape", "sparsity"],
        [
            [
                layer["name"][-60:],
                layer["type"],
                layer["params"],
                layer["macs"],
                layer["bytes"],
                layer["weights"],
                layer["dtype"],
                _sizes(layer["shape"]),
                display.percent(layer["sparsity"]),
            ]
            for layer in found["layers"]
        ],
    )
    display.print_table(
        "What it takes and gives",
        ["tensor", "", "shape", "type", "scale", "zero point"],
        [
            [t["name"], side, _sizes(t["shape"]), t["dtype"], t["scale"], t["zero_point"]]
            for side in ("inputs", "outputs")
            for t in found[side]
        ],
    )
    click.echo(f"no channel groups: {found['groups_reason']}")
    for note in found["notes"]:
        click.echo(f"note: {note}")


def _sizes(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape)
