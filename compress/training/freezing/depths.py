"""Blocks of a model from input to output: the units in which it is unfrozen step by step.

A block ends where all paths meet in one tensor and either layers were just merged or the
resolution is about to change, so a residual unit is never cut in two.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgepress.compress.training.freezing.select import NORMALISATIONS, LayerRef, layer_refs

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node

_FEW = 3


def blocks(model: keras.Model) -> tuple[tuple[str, ...], ...]:
    """Paths of the layers with weights, grouped into blocks from input to output.

    Args:
        model: A built Keras model.

    Returns:
        The blocks, none empty. Where the graph gives fewer than three (a plain stack, a network
        whose skips span it all), they are cut at every change of resolution, and if that gives
        fewer than three still, every layer is a block with the normalisation behind it.
    """
    learning = [ref for ref in layer_refs(model) if ref.weights]
    paths = {id(ref.layer): ref.path for ref in learning}
    found = _from_graph(model, paths)
    if sorted(p for block in found for p in block) != sorted(paths.values()):
        found = []
    if len(found) < _FEW:
        found = _by_resolution(learning)
    if len(found) < _FEW:
        found = _by_layer(learning)
    return tuple(tuple(block) for block in found)


def _from_graph(model: keras.Model, paths: dict[int, str]) -> list[list[str]]:
    """Cut a graph where one tensor is alive, behind merges or before a change of size."""
    import keras

    found: list[list[str]] = [[]]
    waiting: Counter[int] = Counter(id(t) for t in model.outputs)
    nodes = graph_nodes(model)
    for node in nodes:
        waiting.update(id(t) for t in node.input_tensors)
    alive: set[int] = set()
    merged = False
    for node in nodes:
        if len(alive) == 1 and (merged or _resizes(node)):
            found.append([])
            merged = False
        operation = node.operation
        if isinstance(operation, keras.Model):
            found += [*_from_graph(operation, paths), []]
        elif id(operation) in paths:
            found[-1].append(paths[id(operation)])
        merged |= len({id(t) for t in node.input_tensors}) > 1
        waiting.subtract(id(t) for t in node.input_tensors)
        alive = {t for t in alive if waiting[t] > 0}
        alive |= {id(t) for t in node.output_tensors if waiting[id(t)] > 0}
    return _without_repeats(found)


def _without_repeats(found: list[list[str]]) -> list[list[str]]:
    """Blocks that are not empty; a shared layer belongs to the one that uses it first."""
    first = {path: i for i, block in reversed(list(enumerate(found))) for path in block}
    unique = [[p for p in dict.fromkeys(b) if first[p] == i] for i, b in enumerate(found)]
    return [block for block in unique if block]


def graph_nodes(model: keras.Model) -> list[Node]:
    """The nodes of a functional model in topological order; none where it has no graph."""
    by_depth = getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", {})
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _resizes(node: Node) -> bool:
    """Whether an operation changes the extent of its input along space or time, or drops it."""
    if not node.input_tensors or not node.output_tensors:
        return False
    return _extent(node.input_tensors[0]) != _extent(node.output_tensors[0])


def _extent(tensor: keras.KerasTensor) -> tuple[int | None, ...]:
    return tuple(tensor.shape[1:-1])


def _by_resolution(learning: list[LayerRef]) -> list[list[str]]:
    """Cut before every layer whose output has another extent than the one before."""
    found: list[list[str]] = []
    before: Any = None
    for ref in learning:
        output = ref.layer.output if ref.layer._inbound_nodes else None
        extent = before if output is None or isinstance(output, list) else _extent(output)
        if not found or extent != before:
            found.append([])
        found[-1].append(ref.path)
        before = extent
    return found


def _by_layer(learning: list[LayerRef]) -> list[list[str]]:
    found: list[list[str]] = []
    for ref in learning:
        if not found or not ref.kinds & NORMALISATIONS:
            found.append([])
        found[-1].append(ref.path)
    return found
