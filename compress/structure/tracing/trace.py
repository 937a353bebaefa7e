"""Tracing: run the graph on channel numbers and note which weight axes they run along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.graph import Call, channel_tensors, graph_of, nodes_of, require_graph
from edgepress.compress.structure.channels.ids import (
    Ids,
    compact,
)
from edgepress.compress.structure.channels.site import Site, Trace, Visit

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node


def trace(model: keras.Model) -> Trace:
    """Trace the channels of a model.

    Args:
        model: A built Functional or Sequential model; it is only read.

    Returns:
        Classes of channels that belong together, what is bound to them, and what is pinned.

    Raises:
        InputError: The model has no graph of layers.
    """
    graph = require_graph(model)
    found = Trace(model)
    inputs = [_entry(found, t) for t in graph.inputs]
    outputs = _run(found, graph, inputs, "")
    for tensor, ids in zip(graph.outputs, outputs, strict=True):
        name = tensor._keras_history.operation.name
        found.pin(ids, f"'{name}' is an output of the model")
    _make_boxes(found)
    return found


def _entry(found: Trace, tensor: keras.KerasTensor) -> Ids:
    """An input's channels: the last axis' elements, all pinned."""
    shape = tuple(tensor.shape)
    name = tensor._keras_history.operation.name
    ids = found.classes.fresh(1)
    found.pin(ids, f"'{name}' is an input of the model")
    return Ids(ids.reshape([1] * len(shape)), shape)


def _run(found: Trace, graph: keras.Model, inputs: Sequence[Ids], prefix: str) -> list[Ids]:
    """Run a graph on ids; a nested model that is used again shares its channels."""
    _tie_entries(found, graph, inputs)
    known = {id(t): ids for t, ids in zip(graph.inputs, inputs, strict=True)}
    for node in nodes_of(graph):
        if node.is_input:
            continue
        given = tuple(known[id(t)] for t in channel_tensors(node))
        outputs = _call(found, node, given, prefix)
        known.update((id(t), ids) for t, ids in zip(node.output_tensors, outputs, strict=True))
    return [known[id(t)] for t in graph.outputs]


def _tie_entries(found: Trace, graph: keras.Model, inputs: Sequence[Ids]) -> None:
    before = found.entries.setdefault(id(graph), tuple(inputs))
    for one, other in zip(before, inputs, strict=True):
        if one is other:
            continue
        if one.array.shape == other.array.shape:
            found.classes.unite(one.array, other.array)
        else:
            for ids in (one, other):
                found.pin(ids, f"'{graph.name}' is used with tensors of different kinds")


def _call(found: Trace, node: Node, inputs: tuple[Ids, ...], prefix: str) -> tuple[Ids, ...]:
    from edgepress.compress.structure.rules import rule_for
    from edgepress.compress.structure.rules.merging import refuse

    operation = node.operation
    path = prefix + operation.name
    shapes = tuple(tuple(t.shape) for t in node.output_tensors)
    inner = graph_of(operation)
    if inner is not None:
        shaped = [Ids(i.array, tuple(t.shape)) for i, t in zip(inputs, inner.inputs, strict=True)]
        outputs = tuple(_run(found, inner, shaped, f"{path}/"))
        return tuple(Ids(o.array, s) for o, s in zip(outputs, shapes, strict=True))
    site = Site(found, path, operation, node, shapes)
    if _holds_constants(node):
        made: Ids | Sequence[Ids] = refuse(inputs, site, "{} joins it with a constant array")
    else:
        made = rule_for(operation).trace(operation, inputs, site)
    outputs = (made,) if isinstance(made, Ids) else tuple(made)
    call = Call(path, operation, tuple(i.shape for i in inputs), shapes, node)
    found.visits.append(Visit(call, node, inputs, outputs))
    return outputs


def _holds_constants(node: Node) -> bool:
    """Whether a call is given arrays besides tensors of the graph: nothing would cut them."""
    import keras

    named = {k: v for k, v in node.arguments.kwargs.items() if not k.endswith("mask")}
    given = keras.tree.flatten([node.arguments.args, named])
    if not isinstance(node.operation, keras.Layer):
        given += vars(node.operation).values()
    return any(not isinstance(g, keras.KerasTensor) and _is_array(g) for g in given)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and math.prod(value.shape) > 1


def _make_boxes(found: Trace) -> None:
    """Unite channels until each removal takes whole slices of one axis out of every tensor.

    A tensor whose numbers vary along several axes (as between the two halves of a channel shuffle)
    keeps them apart along the axis with the most classes only.
    """
    mixed = [ids for v in found.visits for ids in v.outputs if len(ids.varying) > 1]
    changed = True
    while changed:
        changed = False
        for ids in mixed:
            now = compact(found.classes.roots(ids.array), ids.shape)
            if len(now.varying) > 1:
                axis = _longest(now)
                found.classes.unite_across(now.array, axis)
                changed = True
    pinned_open = [ids for v in found.visits for ids in v.outputs if _open_and_varying(ids)]
    for ids in pinned_open:
        found.pin(ids, "these channels lie along an axis of open length")


def _longest(ids: Ids) -> int:
    return max(ids.varying, key=lambda axis: (ids.array.shape[axis], axis))


def _open_and_varying(ids: Ids) -> bool:
    return any(ids.shape[axis] is None for axis in ids.varying)
