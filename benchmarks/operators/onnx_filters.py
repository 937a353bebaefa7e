"""Filters of an ONNX file's convolutions, as the file stores them.

ONNX Runtime lays convolutions out in blocks of channels ("NCHWc") that are as wide as the
processor's vectors; its profile tells the padded shapes. What is multiplied for the result is in
the file's own filters.

The part of the format that is read is declared here, since what measures imports no framework.

Sources: onnx.proto of ONNX for the numbers of fields; ONNX Runtime names such a kernel after the
tensor that it makes, with "_nchwc" behind, and "_token_N" where that name is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_BLOCKED = re.compile(r"(?P<tensor>.+)_nchwc(_token_\d+)?")
# What ONNX Runtime may run within a convolution, or fold into its filter.
_FUSED = frozenset({
    "Add", "BatchNormalization", "Clip", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Mul", "Relu", "Sigmoid", "Sub", "Div", "Tanh", "Gelu",
})  # fmt: skip
# What gives a filter on in its shape.
_PASSING = frozenset({"DequantizeLinear", "Identity", "Cast", "Mul"})

_ONE, _MANY = 1, 3
_INT, _TEXT = 3, 9
# The part of the format that is read: number, label and type of each field.
_FIELDS: dict[str, dict[str, tuple[int, int, int | str]]] = {
    "Model": {"graph": (7, _ONE, "Graph")},
    "Graph": {"node": (1, _MANY, "Node"), "initializer": (5, _MANY, "Tensor")},
    "Node": {
        "input": (1, _MANY, _TEXT), "output": (2, _MANY, _TEXT), "op_type": (4, _ONE, _TEXT),
        "attribute": (5, _MANY, "Attribute"),
    },
    "Attribute": {
        "name": (1, _ONE, _TEXT), "t": (5, _ONE, "Tensor"), "g": (6, _ONE, "Graph"),
        "graphs": (11, _MANY, "Graph"),
    },
    "Tensor": {"dims": (1, _MANY, _INT), "name": (8, _ONE, _TEXT)},
}  # fmt: skip


@dataclass(frozen=True)
class Filters:
    """The filters of a file.

    Attributes:
        makers: The node that makes a tensor.
        sizes: The shapes of stored tensors.
    """

    makers: dict[str, Any]
    sizes: dict[str, tuple[int, ...]]

    def of(self, kernel: str) -> tuple[int, ...] | None:
        """The filter of a kernel in blocks of channels: [out, in / groups, kernel…].

        Args:
            kernel: Its name in the profile.

        Returns:
            The shape; () where the file doesn't tell it; None for a kernel without blocks.
        """
        found = _BLOCKED.fullmatch(kernel)
        if found is None:
            return None
        node = self.makers.get(found["tensor"])
        while node is not None and node.op_type in _FUSED:
            made = (self.makers.get(name) for name in node.input)
            node = next((maker for maker in made if maker is not None), None)
        if node is None or node.op_type != "Conv":
            return ()
        return self._size(node.input[1])

    def _size(self, name: str) -> tuple[int, ...]:
        while name not in self.sizes:
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in _PASSING:
                return ()
            name = maker.input[0]
        return self.sizes[name]


def read_filters(path: Path) -> Filters:
    """The filters of an ONNX file."""
    model = _message("Model")
    model.ParseFromString(path.read_bytes())
    makers: dict[str, Any] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    for graph in _graphs(model.graph):
        sizes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        for node in graph.node:
            values = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
            if node.op_type == "Constant" and values:
                sizes[node.output[0]] = tuple(values[0].dims)
            else:
                makers |= dict.fromkeys(node.output, node)
    return Filters(makers, sizes)


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
                yield from _graphs(inner)


@cache
def _types() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(
        name="edgepress/onnx_filters.proto", package="edgepress.onnx", syntax="proto2"
    )
    for message, fields in _FIELDS.items():
        descriptor = file.message_type.add(name=message)
        for name, (number, label, kind) in fields.items():
            field = descriptor.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = field.TYPE_MESSAGE, f".edgepress.onnx.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _message(name: str) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(
        _types().FindMessageTypeByName(f"edgepress.onnx.{name}")
    )()
