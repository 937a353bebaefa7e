"""From a trace to what can be removed: units, and the groups in which they are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.processes.garbage import unsearched
from edgepress.compress.structure.channels.ids import Ids
from edgepress.compress.structure.channels.site import Binding, Trace, Visit
from edgepress.compress.structure.tracing.trace import trace
from edgepress.compress.variables import shape_of

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node

Alive = NDArray[np.bool_]
Units = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """Units that run along the same weight axes: what is ranked together.

    Attributes:
        name: Path of the first layer that makes these channels, numbered where it makes several
            kinds (heads, head width).
        layers: Paths of all layers that make them.
        units: Their numbers, ascending.
        reason: Why none of them can be removed; empty where they can.
        width: Channels that the layers make, where a pin has made one unit of several.
    """

    name: str
    layers: tuple[str, ...]
    units: Units
    reason: str
    width: int = 0

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def prunable(self) -> bool:
        """Whether units can be removed."""
        return not self.reason

    @property
    def channels(self) -> int:
        """What people are told: units that can be removed, or how wide a pinned group is."""
        return self.size if self.prunable else max(self.width, self.size)


@dataclass(frozen=True, eq=False)
class Channels:
    """All units of a model.

    Attributes:
        trace: What they were found in.
        unit_of: For each channel number its unit, or -1 where nothing is bound to it.
        bound: (binding, unit of each position).
        groups: All groups in the order of their layers; those of the inputs are left out.
        count: Number of units.
    """

    trace: Trace
    unit_of: Units
    bound: tuple[tuple[Binding, Units], ...]
    groups: tuple[Group, ...]
    count: int

    @property
    def model(self) -> keras.Model:
        """The model."""
        return self.trace.model

    def all_alive(self) -> Alive:
        """Nothing removed yet."""
        return np.ones(self.count, bool)

    @cached_property
    def _by_axis(self) -> dict[tuple[int, int], Units]:
        return {(id(b.weight), b.axis): units for b, units in self.bound}

    @cached_property
    def inexact(self) -> tuple[str, ...]:
        """Layers whose normalisation runs over channels some of which can be removed."""
        least = self.all_alive()
        for group in self.groups:
            least[group.units] = not group.prunable
        noted = set(self.trace.inexact)
        over = [v for v in self.trace.visits if v.call.path in noted]
        free = [v for v in over if not self.alive_array(v.inputs[0], least).all()]
        return tuple(dict.fromkeys(v.call.path for v in free))

    @cached_property
    def _visits(self) -> dict[int, Visit]:
        found: dict[int, Visit] = {}
        for visit in self.trace.visits:
            found.setdefault(id(visit.node), visit)
        return found

    def visit_of(self, node: Node) -> Visit:
        """The first visit of a call of a layer or operation."""
        return self._visits[id(node)]

    @cached_property
    def _ids(self) -> dict[int, Ids]:
        made = (
            (t, ids)
            for visit in self._visits.values()
            for t, ids in zip(visit.node.output_tensors, visit.outputs, strict=True)
        )
        return {id(tensor): ids for tensor, ids in made}

    def ids_of(self, tensor: keras.KerasTensor) -> Ids | None:
        """The channels of a tensor that a layer or operation makes; None for others."""
        return self._ids.get(id(tensor))

    def positions(self, weight: keras.Variable, axis: int) -> Units | None:
        """The unit of each position of a weight's axis; None where none runs along it."""
        return self._by_axis.get((id(weight), axis))

    def kept(self, weight: keras.Variable, alive: Alive) -> list[Units]:
        """For each axis of a weight, the positions that stay."""
        found = []
        for axis, length in enumerate(shape_of(weight)):
            units = self.positions(weight, axis)
            found.append(np.arange(length) if units is None else np.flatnonzero(alive[units]))
        return found

    def kept_along(self, ids: Ids, axis: int, alive: Alive) -> Alive:
        """For a tensor, which positions of an axis stay."""
        here = self.alive_array(ids, alive)
        return np.broadcast_to(_any_but(here, axis), (ids.shape[axis] or 1,))

    def shape(self, ids: Ids, alive: Alive) -> tuple[int | None, ...]:
        """The shape that is left of a tensor.

        Raises:
            ValueError: What is left isn't a box; a rule united too little.
        """
        here = self.alive_array(ids, alive)
        sides = [_any_but(here, axis) for axis in range(here.ndim)]
        box = np.ones([1] * here.ndim, bool)
        for axis, side in enumerate(sides):
            box = box & np.expand_dims(side, [a for a in range(here.ndim) if a != axis])
        if not np.array_equal(box, here):
            raise ValueError("the remaining channels don't form a rectangular slice of a tensor")
        return tuple(
            full if full is None or len(side) == 1 else int(side.sum())
            for full, side in zip(ids.shape, sides, strict=True)
        )

    def alive_array(self, ids: Ids, alive: Alive) -> Alive:
        """For a tensor, which of its channels stay; what nothing is bound to does."""
        units = self.unit_of[ids.array]
        return np.where(units >= 0, alive[units], True)


def _any_but(array: Alive, axis: int) -> Alive:
    other = tuple(a for a in range(array.ndim) if a != axis % array.ndim)
    return np.asarray(array.any(other))


def find_channels(model: keras.Model, protect: Sequence[str] = ()) -> Channels:
    """Trace a model and sort its channels into groups.

    Args:
        model: A built Functional or Sequential model, or its trace.
        protect: Layers that stay as they are: names, paths or globs; a nested model's name stands
            for all layers in it.

    Returns:
        The units and groups.

    Raises:
        InputError: The model has no graph, or an entry of `protect` matches no layer.
    """
    with unsearched():
        found = model if isinstance(model, Trace) else trace(model)
        if protect:
            _pin_protected(found, protect)
        return _sorted(found)


def _sorted(found: Trace) -> Channels:
    """A trace's channels, those of one unit together, in groups."""
    roots = found.classes.roots(np.arange(len(found.classes)))
    bound_roots = [roots[b.ids] for b in found.bindings]
    seen = np.zeros(len(found.classes), bool)
    for held in bound_roots:
        seen[held] = True
    known = np.flatnonzero(seen)
    place = np.full(len(found.classes), -1, np.int64)
    place[known] = np.arange(len(known))
    unit_of = place[roots]
    bound = tuple((b, unit_of[b.ids]) for b in found.bindings)
    reasons = _reasons(found, unit_of, len(known))
    return Channels(found, unit_of, bound, _groups(bound, len(known), reasons), len(known))


def _pin_protected(found: Trace, protect: Sequence[str]) -> None:
    from edgepress.compress.weights.masks.prunable import check_globs, matches, walk_layers

    check_globs("protect", protect, [path for path, _ in walk_layers(found.model)])
    for binding in found.bindings:
        if matches(binding.layer, protect):
            found.pin(binding.ids, f"'{binding.layer}' is protected")


def _reasons(found: Trace, unit_of: Units, count: int) -> list[str]:
    """For each unit the first reason that pins it, or an empty text."""
    reasons = np.full(count + 1, -1)
    for number, (ids, _) in reversed(list(enumerate(found.pins))):
        reasons[unit_of[ids]] = number
    return [found.pins[r][1] if r >= 0 else "" for r in reasons[:count].tolist()]


def _groups(
    bound: tuple[tuple[Binding, Units], ...], count: int, reasons: Sequence[str]
) -> tuple[Group, ...]:
    """Group units by what is bound to them; a pinned unit never shares a group with a free one."""
    if not count:
        return ()
    signature = np.zeros(count, np.uint64)
    random = np.random.default_rng(0).integers(1, 2**63, len(bound), dtype=np.uint64)
    for (_, units), mark in zip(bound, random, strict=True):
        # An indexed addition counts a repeated index once, which is what is wanted here.
        signature[units] += mark
    free = np.array([not r for r in reasons], bool)
    signature[free] ^= np.uint64(1)
    _, first, label = np.unique(signature, return_index=True, return_inverse=True)
    makers = _makers(bound, label, len(first))
    numbers = np.argsort(label, kind="stable")
    parts = np.split(numbers, np.searchsorted(label[numbers], np.arange(1, len(first))))
    widths = _widths(bound, label, len(first))
    groups = [
        (makers[g], part, reasons[part[0]], widths[g]) for g, part in enumerate(parts) if makers[g]
    ]
    groups.sort(key=lambda g: g[1][0])
    return tuple(_named(groups))


def _makers(
    bound: tuple[tuple[Binding, Units], ...], label: Units, count: int
) -> list[dict[str, None]]:
    """For each group the layers that make its channels, in order."""
    makers: list[dict[str, None]] = [{} for _ in range(count)]
    for binding, units in bound:
        if binding.role == "makes":
            held = label[units]
            same = held.size and (held == held[0]).all()
            for group in held[:1] if same else np.unique(held):
                makers[group][binding.layer] = None
    return makers


def _widths(bound: tuple[tuple[Binding, Units], ...], label: Units, count: int) -> list[int]:
    """For each group the most channels that one layer makes of it.

    Units count what goes together; a binding's own numbers are the channels before any were united.
    """
    widths = [0] * count
    for binding, units in bound:
        if binding.role == "makes":
            held = label[units]
            same = held.size and (held == held[0]).all()
            for group in held[:1] if same else np.unique(held):
                ids = binding.ids if same else binding.ids[held == group]
                widths[group] = max(widths[group], _distinct(ids))
    return widths


def _distinct(ids: Units) -> int:
    """How many different numbers there are; those of a layer ascend as a rule."""
    return len(ids) if (ids[1:] > ids[:-1]).all() else len(np.unique(ids))


def _named(groups: Sequence[tuple[dict[str, None], Units, str, int]]) -> list[Group]:
    used: dict[str, int] = {}
    named = []
    for layers, units, reason, width in groups:
        first = next(iter(layers))
        used[first] = used.get(first, 0) + 1
        name = first if used[first] == 1 else f"{first}:{used[first]}"
        named.append(Group(name, tuple(layers), units, reason, width))
    return named
