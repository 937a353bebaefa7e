"""Tracing: run the graph on channel numbers and note which weight axes they run along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgepress.compress.graph import Call, channel_tensors, graph_of, nodes_of, require_graph
from edgepress.compress.structure.ids import Classes, Ids, IntVector, Shape, compact, placed

Role = Literal["makes", "carries", "uses"]


@dataclass(frozen=True, eq=False)
class Binding:
    """Channel numbers along one axis of one weight.

    Attributes:
        layer: Path of the layer.
        weight: The Keras variable.
        axis: The axis.
        ids: Channel number of each position; one channel may hold several positions.
        role: "makes": the weight's output channels; "carries": one value for each channel that
            passes (normalisation); "uses": its input channels, the rows that become dead when
            those channels are removed.
    """

    layer: str
    weight: Any
    axis: int
    ids: IntVector
    role: Role


@dataclass(frozen=True, eq=False)
class Visit:
    """One call with the ids of what went in and came out."""

    call: Call
    node: Any
    inputs: tuple[Ids, ...]
    outputs: tuple[Ids, ...]


@dataclass(eq=False)
class Trace:
    """What tracing found out about one model.

    Attributes:
        model: The model.
        classes: Which channel numbers belong together.
        bindings: Every (weight, axis) that channels run along.
        visits: All calls in topological order, nested models' from within.
        entries: For each nested model's graph (by identity), the ids at its inputs.
        pins: (numbers, reason) of channels that can't be removed, in the order found.
        inexact: Layers whose normalisation runs over channels: removing some changes the statistics
            of the rest.
    """

    model: Any
    classes: Classes = field(default_factory=Classes)
    bindings: list[Binding] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    entries: dict[int, tuple[Ids, ...]] = field(default_factory=dict)
    pins: list[tuple[IntVector, str]] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)
    _bound: dict[tuple[int, int], Binding] = field(default_factory=dict)

    def pin(self, ids: Ids | IntVector, reason: str) -> None:
        """Keep channels, with the reason."""
        array = ids.array if isinstance(ids, Ids) else ids
        if array.size:
            self.pins.append((array.ravel(), reason))

    def bind(self, layer: str, weight: Any, axis: int, ids: IntVector, role: Role) -> None:
        """Note that channels run along a weight's axis; a second use unites them."""
        axis %= len(weight.shape)
        before = self._bound.get((id(weight), axis))
        if before is not None:
            self.classes.unite(before.ids, ids)
            return
        binding = Binding(layer, weight, axis, ids, role)
        self._bound[id(weight), axis] = binding
        self.bindings.append(binding)

    def bound(self, weight: Any, axis: int) -> Binding | None:
        """What runs along a weight's axis, if anything does."""
        return self._bound.get((id(weight), axis % len(weight.shape)))


@dataclass(frozen=True, eq=False)
class Site:
    """Where a rule stands: one call, and what a rule may do there.

    Attributes:
        trace: Collects what the rule finds.
        path: The layer's path, for reasons.
        layer: The layer or operation.
        node: The call's node: its arguments.
        shapes: Shapes of the outputs.
    """

    trace: Trace
    path: str
    layer: Any
    node: Any
    shapes: tuple[Shape, ...]

    def within(self, layer: Any, shapes: tuple[Shape, ...]) -> Site:
        """The same place for a layer inside this one."""
        return Site(self.trace, self.path, layer, self.node, shapes)

    def pin(self, ids: Ids | IntVector, reason: str) -> None:
        """Keep channels; `{}` in the reason becomes the layer's path."""
        self.trace.pin(ids, reason.replace("{}", f"'{self.path}'"))

    def pinned(self, reason: str, output: int = 0) -> Ids:
        """An output whose channels all stay."""
        shape = self.shapes[output]
        number = self.trace.classes.fresh(1)
        self.pin(number, reason)
        return Ids(number.reshape([1] * len(shape)), shape)

    def fresh(self, weight: Any, axis: int, count: int | None = None) -> IntVector:
        """The channels that a weight's axis makes; the same ones at every use of the layer."""
        before = self.trace.bound(weight, axis)
        if before is not None:
            return before.ids
        return self.trace.classes.fresh(count or int(weight.shape[axis]))

    def makes(self, weight: Any, axis: int, ids: IntVector) -> None:
        """Channels that the weight makes run along its axis."""
        if weight is not None:
            self.trace.bind(self.path, weight, axis, ids, "makes")

    def uses(self, weight: Any, axis: int, ids: IntVector) -> None:
        """Channels that the weight reads run along its axis."""
        self.trace.bind(self.path, weight, axis, ids, "uses")

    def carries(self, weight: Any, axis: int, ids: IntVector) -> None:
        """Channels that pass the weight run along its axis."""
        if weight is not None:
            self.trace.bind(self.path, weight, axis, ids, "carries")

    def along(self, ids: Ids, axis: int) -> IntVector:
        """The channel of each position of an axis that a kernel sums over.

        What lies in one slice shares the kernel's row, so it is united. Channels that lie along
        other axes only are moved past the kernel as places, which no removal may change.
        """
        axis = ids.axis(axis)
        others = [a for a in ids.varying if a != axis]
        if others and axis not in ids.varying:
            self.pin(ids, "{} takes these channels for places, not for channels")
        spread = ids.spread([axis])
        return self.trace.classes.unite_across(spread, axis)

    def placed(self, vector: IntVector, axis: int, output: int = 0) -> Ids:
        """An output whose channels run along one axis."""
        return placed(vector, axis, self.shapes[output])

    def compact(self, array: Any, output: int = 0) -> Ids:
        """An output with the given numbers."""
        return compact(array, self.shapes[output])


def trace(model: Any) -> Trace:
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


def _entry(found: Trace, tensor: Any) -> Ids:
    """An input's channels: the last axis' elements, all pinned."""
    shape = tuple(tensor.shape)
    name = tensor._keras_history.operation.name
    ids = found.classes.fresh(1)
    found.pin(ids, f"'{name}' is an input of the model")
    return Ids(ids.reshape([1] * len(shape)), shape)


def _run(found: Trace, graph: Any, inputs: Sequence[Ids], prefix: str) -> list[Ids]:
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


def _tie_entries(found: Trace, graph: Any, inputs: Sequence[Ids]) -> None:
    before = found.entries.setdefault(id(graph), tuple(inputs))
    for one, other in zip(before, inputs, strict=True):
        if one is other:
            continue
        if one.array.shape == other.array.shape:
            found.classes.unite(one.array, other.array)
        else:
            for ids in (one, other):
                found.pin(ids, f"'{graph.name}' is used with tensors of different kinds")


def _call(found: Trace, node: Any, inputs: tuple[Ids, ...], prefix: str) -> tuple[Ids, ...]:
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


def _holds_constants(node: Any) -> bool:
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
