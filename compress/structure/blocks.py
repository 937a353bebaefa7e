"""Finding whole blocks: residual branches, and runs of layers that keep the shape of what passes.

A block is a tensor that another one can stand in for: the sum at the end of a residual branch is
replaced by its other summand, the output of a layer (or of a run of layers that widens and narrows
again) by what went in. What nothing needs any more is left out when the model is rebuilt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepress.compress.cost import call_macs
from edgepress.compress.graph import Call, graph_of, needed, nodes_of, require_graph
from edgepress.compress.weights.prunable import check_globs, matches, walk_layers

# Operations of which one input can stand for the result. A gate (of squeeze-and-excitation) is a
# product of which one input alone has the result's shape.
_SUMS = ("Add", "Average")
_PRODUCTS = ("Multiply",)


@dataclass(frozen=True, eq=False)
class Block:
    """Something that can be left out whole.

    Attributes:
        name: Path of the layer that makes the replaced tensor.
        tensor: The tensor that is replaced.
        stand_in: What takes its place, of the same shape.
        layers: Paths of the layers that then aren't needed any more.
        macs: Multiply-accumulates saved when it alone is left out.
        params: Parameters saved then.
    """

    name: str
    tensor: Any
    stand_in: Any
    layers: tuple[str, ...]
    macs: int
    params: int


class Ledger:
    """What is left of a model, nested models included, when tensors are replaced.

    Args:
        model: A built Functional or Sequential model.
    """

    def __init__(self, model: Any) -> None:
        self._graph = require_graph(model)
        self._macs: dict[int, int] = {}

    def left(self, replaced: Mapping[int, Any]) -> tuple[int, int]:
        """MACs and parameters that are left."""
        macs = 0
        weights: dict[int, int] = {}
        for _, node in _needed_calls(self._graph, replaced, ""):
            if id(node) not in self._macs:
                self._macs[id(node)] = call_macs(_call(node))
            macs += self._macs[id(node)]
            weights.update((id(w), math.prod(w.shape)) for w in _weights(node.operation))
        return macs, sum(weights.values())

    def layers(self, replaced: Mapping[int, Any]) -> dict[str, Any]:
        """The layers and operations that are left, by path."""
        return {path: n.operation for path, n in _needed_calls(self._graph, replaced, "")}

    def tensors(self, replaced: Mapping[int, Any]) -> set[int]:
        """Identities of the tensors that are still made."""
        calls = _needed_calls(self._graph, replaced, "", nested=True)
        return {id(t) for _, node in calls for t in node.output_tensors}


def _needed_calls(
    graph: Any, replaced: Mapping[int, Any], prefix: str, nested: bool = False
) -> Iterator[tuple[str, Any]]:
    """Calls that are still needed, those of nested models from within (and whole, if asked)."""
    for node in needed(graph, replaced):
        if node.is_input:
            continue
        path = prefix + node.operation.name
        inner = graph_of(node.operation)
        if inner is None or nested:
            yield path, node
        if inner is not None:
            yield from _needed_calls(inner, replaced, f"{path}/", nested)


def _call(node: Any) -> Call:
    shapes = [tuple(tuple(t.shape) for t in s) for s in (node.input_tensors, node.output_tensors)]
    return Call(node.operation.name, node.operation, *shapes)


def _weights(operation: Any) -> Sequence[Any]:
    return getattr(operation, "weights", None) or ()


def find_blocks(model: Any, protect: Sequence[str] = ()) -> list[Block]:
    """Everything of a model, nested models included, that can be left out whole and multiplies.

    Args:
        model: A built Functional or Sequential model.
        protect: Layers (names, paths or globs) that stay.

    Returns:
        The blocks, in the order of the graph.

    Raises:
        InputError: The model has no graph, or an entry of `protect` matches no layer.
    """
    check_globs("protect", protect, [path for path, _ in walk_layers(model)])
    ledger, found, seen = Ledger(model), [], set()
    for prefix, graph in _graphs(require_graph(model), "", set()):
        for tensor, stand_in in _Surroundings(graph).choices():
            block = _block(ledger, prefix, tensor, stand_in, protect)
            if block is not None and block.layers not in seen:
                seen.add(block.layers)
                found.append(block)
    return found


def _graphs(graph: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """A graph and those of the models nested in it, each once."""
    if id(graph) in seen:
        return
    seen.add(id(graph))
    yield prefix, graph
    for node in nodes_of(graph):
        inner = graph_of(node.operation)
        if inner is not None:
            yield from _graphs(inner, f"{prefix}{node.operation.name}/", seen)


def _block(
    ledger: Ledger, prefix: str, tensor: Any, stand_in: Any, protect: Sequence[str]
) -> Block | None:
    before, after = ledger.left({}), ledger.left({id(tensor): stand_in})
    macs, params = before[0] - after[0], before[1] - after[1]
    if not macs or not params:
        return None
    left = ledger.layers({id(tensor): stand_in})
    layers = tuple(path for path in ledger.layers({}) if path not in left)
    if any(matches(path, protect) for path in layers):
        return None
    name = prefix + tensor._keras_history.operation.name
    return Block(name, tensor, stand_in, layers, macs, params)


class _Surroundings:
    """What could stand in for what in one graph.

    Args:
        graph: The graph of a model.
    """

    def __init__(self, graph: Any) -> None:
        self._nodes = nodes_of(graph)
        self._outputs = {id(t) for t in graph.outputs}
        self._makers = {id(t): n for n in self._nodes for t in n.output_tensors}
        self._readers: dict[int, list[Any]] = {}
        for node in self._nodes:
            for tensor in _distinct(node.input_tensors):
                self._readers.setdefault(id(tensor), []).append(node)

    def choices(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of a tensor and what can take its place, in the order of the graph."""
        for node in self._nodes:
            if not node.is_input and len(node.output_tensors) == 1:
                yield from self._choices(node, node.output_tensors[0])

    def _choices(self, node: Any, tensor: Any) -> Iterator[tuple[Any, Any]]:
        kind = type(node.operation).__name__
        inputs = _distinct(node.input_tensors)
        if kind in _SUMS:
            yield from ((tensor, t) for t in inputs if _alike(t, tensor))
        elif kind in _PRODUCTS:
            alike = [t for t in inputs if _alike(t, tensor)]
            yield from ((tensor, t) for t in alike if len(alike) == 1 < len(inputs))
        elif len(inputs) == 1:
            stand_in = self._upstream(inputs[0], tensor)
            if stand_in is not None and not self._meets(tensor, stand_in):
                yield self._downstream(tensor), stand_in

    def _upstream(self, tensor: Any, wanted: Any) -> Any:
        """The nearest tensor of the wanted shape on the single path that leads here."""
        while not _alike(tensor, wanted):
            maker = self._makers.get(id(tensor))
            if maker is None or maker.is_input or len(self._readers[id(tensor)]) > 1:
                return None
            inputs = _distinct(maker.input_tensors)
            if len(inputs) != 1:
                return None
            tensor = inputs[0]
        return tensor

    def _downstream(self, tensor: Any) -> Any:
        """Past the normalisation and activation that belong to a layer: they go with it."""
        while id(tensor) not in self._outputs and len(self._readers.get(id(tensor), [])) == 1:
            (reader,) = self._readers[id(tensor)]
            made = reader.output_tensors
            alone = len(_distinct(reader.input_tensors)) == 1 and len(made) == 1
            if not alone or not _alike(made[0], tensor) or graph_of(reader.operation) is not None:
                break
            if call_macs(_call(reader)):
                break
            tensor = made[0]
        return tensor

    def _meets(self, tensor: Any, stand_in: Any) -> bool:
        """Whether the two would only be added to each other: that is a branch, found as one."""
        last = self._downstream(tensor)
        return any(
            any(t is stand_in for t in reader.input_tensors)
            for reader in self._readers.get(id(last), [])
        )


def _distinct(tensors: Sequence[Any]) -> list[Any]:
    """Tensors, each once (attention takes one as query and value)."""
    return list({id(t): t for t in tensors}.values())


def _alike(tensor: Any, other: Any) -> bool:
    return tuple(tensor.shape) == tuple(other.shape) and tensor.dtype == other.dtype
