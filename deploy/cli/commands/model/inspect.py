"""`edgepress inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgepress.compress.models.other_kinds import other_kind
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    keyword_values,
    model_argument,
    open_noted,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.tables.printing import Layout, show_table, table_options
from edgepress.deploy.cli.valid_names import RUNTIME

_LAYERS = Layout(
    ("layer", "type", "parameters", "MACs", "trainable", "sparsity", "coded bytes"),
    ("type", "parameters", "MACs", "sparsity"),
)
_GROUPS = Layout(
    ("group", "channels", "layers", "prunable", "reason"), ("channels", "prunable", "layers")
)
_OPERATORS = Layout(
    ("operator", "type", "parameters", "MACs", "bytes", "weights", "gives", "shape", "sparsity"),
    ("type", "MACs", "bytes", "weights", "shape"),
)
_TENSORS = Layout(
    ("tensor", "side", "shape", "type", "scale", "zero point"),
    ("side", "shape", "type", "scale", "zero point"),
)


@click.command(cls=SectionedCommand)
@model_argument
@click.option(
    "--runtime", type=RUNTIME, metavar="NAME", help="List the operators that this runtime lacks."
)
@table_options(_LAYERS, _GROUPS, _OPERATORS, _TENSORS)
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
        show_keras(values["model"], found)
    else:
        _show_file(values["model"], found)


def show_keras(name: str, found: dict[str, Any]) -> None:
    """The layers of a Keras model and its channel groups."""
    from edgepress.benchmarks.number_format import bytes_text, count_text, whole

    show_table(
        _LAYERS,
        f"{name}: {_totals(found)}, {whole(found['trainable_params'])} trainable, kernels coded by"
        f" frequency {bytes_text(found['entropy_bytes'])}",
        [
            [layer["name"], layer["type"], count_text(layer["params"]), count_text(layer["macs"]),
             layer["trainable"], display.percent(layer["sparsity"]),
             bytes_text(layer["entropy_bytes"])]
            for layer in found["layers"]
        ],
    )  # fmt: skip
    show_table(
        _GROUPS,
        "Channel groups: what is removed together",
        [
            [g["id"], g["channels"], ", ".join(g["layers"]), g["prunable"], g["reason"] or ""]
            for g in found["groups"]
        ],
    )
    for left_out in found["uncounted"]:
        echo(f"note: the MACs of '{left_out['layer']}' are not all counted: {left_out['reason']}")


def _totals(found: dict[str, Any]) -> str:
    """The figures of a whole model; parameters and bytes are exact."""
    from edgepress.benchmarks.number_format import count_text, counted, share_text

    return (
        f"{counted(found['params'], 'parameter')}, {count_text(found['macs'])} MACs,"
        f" {counted(found['bytes'], 'byte')}, sparsity {share_text(found['sparsity'])}"
    )


def _show_file(name: str, found: dict[str, Any]) -> None:
    from edgepress.benchmarks.number_format import bytes_text, count_text

    show_table(
        _OPERATORS,
        f"{name}, {found['kind']}, {found['quantize']}: {_totals(found)}",
        [
            [layer["name"][-60:], layer["type"], count_text(layer["params"]),
             count_text(layer["macs"]), bytes_text(layer["bytes"]), layer["weights"],
             layer["dtype"], _sizes(layer["shape"]), display.percent(layer["sparsity"])]
            for layer in found["layers"]
        ],
    )  # fmt: skip
    show_table(
        _TENSORS,
        "What it takes and gives",
        [
            [t["name"], side, _sizes(t["shape"]), t["dtype"], t["scale"], t["zero_point"]]
            for side in ("inputs", "outputs")
            for t in found[side]
        ],
    )
    echo(f"no channel groups: {found['groups_reason']}")
    for note in found["notes"]:
        echo(f"note: {note}")


def _sizes(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape)
