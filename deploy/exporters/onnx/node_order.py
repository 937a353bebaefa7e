"""The order of the nodes in ONNX graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put nodes behind those whose outputs they read, in the bodies of loops and branches too.

    From the outputs back: an order that depends on the graph alone.
    """
    for node in graph.node:
        for inner in bodies(node):
            sort_nodes(inner)
    made_by = {name: node for node in graph.node for name in node.output}
    ordered: list[Any] = []
    state: dict[int, bool] = {}  # node → whether it is placed; absent where it wasn't met yet
    ends = [made_by[value.name] for value in graph.output if value.name in made_by]
    for start in (*ends, *graph.node):
        stack = [start]
        while stack:
            node = stack[-1]
            first = id(node) not in state
            state.setdefault(id(node), False)
            needed = [made_by[n] for n in reads(node) if n in made_by] if first else []
            waiting = [n for n in needed if id(n) not in state]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            if not state[id(node)]:
                state[id(node)] = True
                ordered.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, in the bodies of loops and branches too."""
    yield from node.input
    for inner in bodies(node):
        for part in inner.node:
            yield from reads(part)


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node: bodies of loops and branches."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
