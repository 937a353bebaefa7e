"""What is left of a model when blocks of it go: tensors stand in for others, channels are cut.

A branch whose channels are only put beside others (a layer of DenseNet, a branch of Inception) goes
by losing all of them: what joins it to the others takes those that are left, and what reads the
result loses the inputs that came from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgepress.compress.cost import call_macs
from edgepress.compress.graph import Call, channel_tensors, graph_of, needed, require_graph, resolve
from edgepress.compress.structure.channels.ids import Ids
from edgepress.compress.structure.channels.site import Visit
from edgepress.compress.structure.tracing.groups import Alive, Channels

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node


@dataclass(frozen=True, eq=False)
class Remains:
    """A model without some of its tensors and channels.

    Attributes:
        channels: The model's units.
        alive: (units,) whether each stays.
        replaced: By identity of a tensor, what takes its place.
    """

    channels: Channels
    alive: Alive
    replaced: Mapping[int, Any]
    _shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def needed(self, graph: keras.Model) -> list[Node]:
        """The nodes of a graph that its outputs still need, in order."""
        return needed(graph, self.replaced, self.reads)

    def reads(self, node: Node) -> Sequence[keras.KerasTensor]:
        """The tensors that a call still receives."""
        tensors: Sequence[Any] = node.input_tensors
        if self._whole or not _joins(node):
            return tensors
        pairs = joined(self.channels.visit_of(node))
        return [tensor for tensor, ids in pairs if not self._is_empty(ids)]

    @cached_property
    def _whole(self) -> bool:
        return bool(self.alive.all())

    def _is_empty(self, ids: Ids) -> bool:
        return not self.channels.alive_array(ids, self.alive).any()

    def calls(self, nested: bool = False) -> Iterator[tuple[str, Node]]:
        """Calls that are still needed, by path: those of nested models (and these, if asked)."""
        yield from self._calls(require_graph(self.channels.model), "", nested)

    def _calls(self, graph: keras.Model, prefix: str, nested: bool) -> Iterator[tuple[str, Node]]:
        for node in self.needed(graph):
            if node.is_input:
                continue
            path = prefix + node.operation.name
            inner = graph_of(node.operation)
            if inner is None or nested:
                yield path, node
            if inner is not None:
                yield from self._calls(inner, f"{path}/", nested)

    def layers(self) -> dict[str, keras.Operation]:
        """The layers and operations that are left, by path."""
        return {path: node.operation for path, node in self.calls()}

    @cached_property
    def tensors(self) -> set[int]:
        """Identities of the tensors that are still made."""
        return {id(t) for _, node in self.calls(nested=True) for t in node.output_tensors}

    @cached_property
    def cost(self) -> tuple[int, int]:
        """MACs and parameters that are left."""
        macs = 0
        weights: dict[int, int] = {}
        for _, node in self.calls():
            macs += call_macs(self._call(self.channels.visit_of(node)), self._shape)
            weights.update((id(w), math.prod(self._shape(w))) for w in weights_of(node.operation))
        return macs, sum(weights.values())

    def _call(self, visit: Visit) -> Call:
        """A call at the sizes that are left of its tensors, where its weights don't say them."""
        weights = weights_of(visit.call.operation)
        if self._whole or any(self._shape(w) != tuple(w.shape) for w in weights):
            return visit.call
        inputs = tuple(self.channels.shape(ids, self.alive) for ids in visit.inputs)
        outputs = tuple(self.channels.shape(ids, self.alive) for ids in visit.outputs)
        return replace(visit.call, inputs=inputs, outputs=outputs)

    def _shape(self, weight: keras.Variable) -> tuple[int, ...]:
        if self._whole:
            return tuple(weight.shape)
        if id(weight) not in self._shapes:
            kept = self.channels.kept(weight, self.alive)
            self._shapes[id(weight)] = tuple(len(positions) for positions in kept)
        return self._shapes[id(weight)]

    def holds(self) -> bool:
        """Whether what is left can be built: nothing is empty, and what stands in fits."""
        return self._whole or all(
            self._fits(self.channels.visit_of(node), node) for _, node in self.calls()
        )

    def _fits(self, visit: Visit, node: Node) -> bool:
        if not all(min(self._shape(w), default=1) for w in weights_of(node.operation)):
            return False
        for tensor, ids in zip(channel_tensors(node), visit.inputs, strict=True):
            replacement = resolve(tensor, self.replaced)
            if replacement is not tensor and not self._alike(tensor, replacement):
                return False
            if self._is_empty(ids) and not _joins(node):
                return False
        return not any(map(self._is_empty, visit.outputs))

    def _alike(self, tensor: keras.KerasTensor, replacement: keras.KerasTensor) -> bool:
        """Whether the same channels are left of both; of what no layer makes that isn't known."""
        one, other = map(self.channels.ids_of, (tensor, replacement))
        if one is None or other is None:
            return False
        left, there = (self.channels.alive_array(ids, self.alive) for ids in (one, other))
        return bool((left == there).all())


def joined(visit: Visit) -> list[tuple[keras.KerasTensor, Ids]]:
    """The tensors that a call puts beside each other, with their channels; none of other calls."""
    if not _joins(visit.node):
        return []
    return list(zip(channel_tensors(visit.node), visit.inputs, strict=True))


def _joins(node: Node) -> bool:
    """Whether a call puts tensors beside each other, so that it can do with fewer of them.

    With masks it would need fewer of these, too.
    """
    plain = len(channel_tensors(node)) == len(node.input_tensors)
    return type(node.operation).__name__ == "Concatenate" and plain and bool(node.arguments.args)


def weights_of(operation: keras.Operation) -> Sequence[keras.Variable]:
    """A layer's weights; an operation has none."""
    return getattr(operation, "weights", None) or ()
