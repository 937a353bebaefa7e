"""Where a rule is applied, and what it may note there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgepress.compress.graph import Call
from edgepress.compress.structure.channels.ids import (
    Classes,
    Ids,
    IntVector,
    Shape,
    compact,
    placed,
)

if TYPE_CHECKING:
    import keras

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

    def bind(
        self, layer: str, weight: keras.Variable, axis: int, ids: IntVector, role: Role
    ) -> None:
        """Note that channels run along a weight's axis; a second use unites them."""
        axis %= weight.ndim
        before = self._bound.get((id(weight), axis))
        if before is not None:
            self.classes.unite(before.ids, ids)
            return
        binding = Binding(layer, weight, axis, ids, role)
        self._bound[id(weight), axis] = binding
        self.bindings.append(binding)

    def bound(self, weight: keras.Variable, axis: int) -> Binding | None:
        """What runs along a weight's axis, if anything does."""
        return self._bound.get((id(weight), axis % weight.ndim))


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

    def within(self, layer: keras.Layer, shapes: tuple[Shape, ...]) -> Site:
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

    def fresh(self, weight: keras.Variable, axis: int, count: int | None = None) -> IntVector:
        """The channels that a weight's axis makes; the same ones at every use of the layer."""
        before = self.trace.bound(weight, axis)
        if before is not None:
            return before.ids
        return self.trace.classes.fresh(count or int(weight.shape[axis]))

    def makes(self, weight: keras.Variable, axis: int, ids: IntVector) -> None:
        """Channels that the weight makes run along its axis."""
        if weight is not None:
            self.trace.bind(self.path, weight, axis, ids, "makes")

    def uses(self, weight: keras.Variable, axis: int, ids: IntVector) -> None:
        """Channels that the weight reads run along its axis."""
        self.trace.bind(self.path, weight, axis, ids, "uses")

    def carries(self, weight: keras.Variable, axis: int, ids: IntVector) -> None:
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
            self.pin(ids, "{} treats these channels as spatial positions")
        spread = ids.spread([axis])
        return self.trace.classes.unite_across(spread, axis)

    def placed(self, vector: IntVector, axis: int, output: int = 0) -> Ids:
        """An output whose channels run along one axis."""
        return placed(vector, axis, self.shapes[output])

    def compact(self, array: IntVector, output: int = 0) -> Ids:
        """An output with the given numbers."""
        return compact(array, self.shapes[output])
