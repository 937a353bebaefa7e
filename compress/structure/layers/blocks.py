"""Finding whole blocks: residual branches, and runs of layers that keep the shape of what passes.

A block is a tensor that another one can stand in for, or whose channels are only put beside others
(`remains.py`). The sum at the end of a residual branch is
replaced by its other summand, the output of a layer (or of a run of layers that widens and narrows
again) by what went in. What nothing needs any more is left out when the model is rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.cost import call_macs
from edgepress.compress.graph import Call, graph_of, nodes_of, require_graph
from edgepress.compress.structure.tracing.groups import Channels, Units
from edgepress.compress.structure.tracing.rewired_graph import Remains, joined
from edgepress.compress.weights.masks.prunable import matches

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node

# Operations of which one input can stand for the result. A gate (of squeeze-and-excitation) is a
# product of which one input alone has the result's shape.
_SUMS = ("Add", "Average")
_PRODUCTS = ("Multiply",)


@dataclass(frozen=True, eq=False)
class Block:
    """Something that can be removed as a whole.

    Attributes:
        name: Path of the layer that makes the tensor.
        tensor: The tensor that is replaced, or of which no channel stays.
        replacement: What takes its place, of the same shape; None where its channels go.
        units: Those channels.
        layers: Paths of the layers that then aren't needed any more.
        macs: Multiply-accumulates saved when it alone is left out.
        params: Parameters saved then.
    """

    name: str
    tensor: Any
    replacement: Any
    units: Units = field(default_factory=lambda: np.zeros(0, np.int64))
    layers: tuple[str, ...] = ()
    macs: int = 0
    params: int = 0


def without(channels: Channels, blocks: Sequence[Block]) -> Remains:
    """What is left of a model without some of its blocks."""
    alive = channels.all_alive()
    for block in blocks:
        alive[block.units] = False
    replaced = {id(b.tensor): b.replacement for b in blocks if b.replacement is not None}
    return Remains(channels, alive, replaced)


def _call(node: Node) -> Call:
    shapes = [tuple(tuple(t.shape) for t in s) for s in (node.input_tensors, node.output_tensors)]
    return Call(node.operation.name, node.operation, shapes[0], shapes[1], node)


def find_blocks(channels: Channels, protect: Sequence[str] = ()) -> list[Block]:
    """Everything of a model, nested models included, that can be removed as a whole and multiplies.

    Args:
        channels: The units of a model, those of protected layers pinned.
        protect: Layers (names, paths or globs) that stay.

    Returns:
        The blocks; branches whose channels are put beside others come last.
    """
    full = without(channels, ())
    cost, every = full.cost, list(full.layers())
    found, seen = [], set()
    for block in _candidates(channels):
        left = without(channels, [block])
        layers = left.layers() if left.holds() else {}
        gone = tuple(path for path in every if path not in layers)
        macs, params = (a - b for a, b in zip(cost, left.cost, strict=True))
        if not layers or not macs or not params or gone in seen:
            continue
        if any(matches(path, protect) for path in gone) or _makers_of(channels, block) & {*layers}:
            continue
        seen.add(gone)
        found.append(replace(block, layers=gone, macs=macs, params=params))
    return found


def _makers_of(channels: Channels, block: Block) -> set[str]:
    """Paths of the layers that make the channels of a branch: they are to go with it."""
    gone = np.zeros(channels.count, bool)
    gone[block.units] = True
    made = ((b.layer, units) for b, units in channels.bound if b.role == "makes")
    return {layer for layer, units in made if gone[units].any()}


def _candidates(channels: Channels) -> Iterator[Block]:
    """What may be a block."""
    for prefix, graph in _graphs(require_graph(channels.model), "", set()):
        for tensor, replacement in _Surroundings(graph).choices():
            yield Block(prefix + _maker(tensor), tensor, replacement)
    # The last place is that of unit -1: channels that nothing is bound to.
    free = np.zeros(channels.count + 1, bool)
    for group in channels.groups:
        free[group.units] = group.prunable
    for visit in channels.trace.visits:
        prefix = visit.call.path.removesuffix(visit.call.operation.name)
        for tensor, ids in joined(visit):
            units = np.unique(channels.unit_of[ids.array])
            if free[units].all():
                yield Block(prefix + _maker(tensor), tensor, None, units)


def _maker(tensor: keras.KerasTensor) -> str:
    return str(tensor._keras_history.operation.name)


def _graphs(graph: keras.Model, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.Model]]:
    """A graph and those of the models nested in it, each once."""
    if id(graph) in seen:
        return
    seen.add(id(graph))
    yield prefix, graph
    for node in nodes_of(graph):
        inner = graph_of(node.operation)
        if inner is not None:
            yield from _graphs(inner, f"{prefix}{node.operation.name}/", seen)


class _Surroundings:
    """What could stand in for what in one graph.

    Args:
        graph: The graph of a model.
    """

    def __init__(self, graph: keras.Model) -> None:
        self._nodes = nodes_of(graph)
        self._outputs = {id(t) for t in graph.outputs}
        self._makers = {id(t): n for n in self._nodes for t in n.output_tensors}
        self._readers: dict[int, list[Any]] = {}
        for node in self._nodes:
            for tensor in _distinct(node.input_tensors):
                self._readers.setdefault(id(tensor), []).append(node)

    def choices(self) -> Iterator[tuple[keras.KerasTensor, keras.KerasTensor]]:
        """Pairs of a tensor and what can take its place, in the order of the graph."""
        for node in self._nodes:
            if not node.is_input and len(node.output_tensors) == 1:
                yield from self._choices(node, node.output_tensors[0])

    def _choices(
        self, node: Node, tensor: keras.KerasTensor
    ) -> Iterator[tuple[keras.KerasTensor, keras.KerasTensor]]:
        kind = type(node.operation).__name__
        inputs = _distinct(node.input_tensors)
        if kind in _SUMS:
            yield from ((tensor, t) for t in inputs if _alike(t, tensor))
        elif kind in _PRODUCTS:
            alike = [t for t in inputs if _alike(t, tensor)]
            yield from ((tensor, t) for t in alike if len(alike) == 1 < len(inputs))
        elif len(inputs) == 1:
            replacement = self._upstream(inputs[0], tensor)
            if replacement is not None and not self._meets(tensor, replacement):
                yield self._downstream(tensor), replacement

    def _upstream(
        self, tensor: keras.KerasTensor, wanted: keras.KerasTensor
    ) -> keras.KerasTensor | None:
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

    def _downstream(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
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

    def _meets(self, tensor: keras.KerasTensor, replacement: keras.KerasTensor) -> bool:
        """Whether the two would only be added to each other: that is a branch, found as one."""
        last = self._downstream(tensor)
        return any(
            any(t is replacement for t in reader.input_tensors)
            for reader in self._readers.get(id(last), [])
        )


def _distinct(tensors: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
    """Tensors, each once (attention takes one as query and value)."""
    return list({id(t): t for t in tensors}.values())


def _alike(tensor: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    return tuple(tensor.shape) == tuple(other.shape) and tensor.dtype == other.dtype
