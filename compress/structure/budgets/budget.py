"""What a model costs when some units are removed, without building it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.cost import call_macs
from edgepress.compress.counting.count import ShapeOf
from edgepress.compress.graph import Call
from edgepress.compress.structure.channels.site import Visit
from edgepress.compress.structure.tracing.groups import Alive, Channels, Units
from edgepress.compress.variables import shape_of

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class _Counted:
    """One call with weights that channels run along; each choice of its own widths counted once.

    Attributes:
        call: The call.
        places: Where its axes lie among all bound ones.
    """

    call: Call
    places: Units
    _known: dict[bytes, int] = field(default_factory=dict)

    def macs(self, counts: Units, shape: ShapeOf) -> int:
        """MACs at the widths that are left; shapes are asked for only where they are new."""
        key = counts[self.places].tobytes()
        if key not in self._known:
            self._known[key] = call_macs(self.call, shape)
        return self._known[key]


class Counts:
    """Exact MACs and parameters of a model with some units removed.

    All weight axes that channels run along lie in one array, those with the same units (a kernel's
    and its normalisation's) once, so a new choice of units costs one look-up and one segmented sum,
    however many layers there are.

    Args:
        channels: The model's units.
    """

    def __init__(self, channels: Channels) -> None:
        bound = [(b, units) for b, units in channels.bound if len(units)]
        self._keys = [(id(b.weight), b.axis) for b, _ in bound]
        known: dict[bytes, int] = {}
        self._place = np.array([known.setdefault(u.tobytes(), len(known)) for _, u in bound], int)
        runs = [np.frombuffer(units, np.int64) for units in known]
        self._starts = np.cumsum([0, *map(len, runs[:-1])])
        self._units = np.concatenate(runs) if runs else np.zeros(0, np.int64)
        self._channels = channels
        self._calls: list[_Counted] = []
        self._products: list[Visit] = []
        self._at: dict[int, list[int]] = {}
        for place, (key, _) in enumerate(self._keys):
            self._at.setdefault(key, []).append(place)
        for visit in channels.trace.visits:
            weights = getattr(visit.call.operation, "weights", ())
            places = [place for w in weights for place in self._at.get(id(w), ())]
            now = call_macs(visit.call)
            if places and now:
                self._calls.append(_Counted(visit.call, np.array(places)))
            elif now:
                self._products.append(visit)
        self._weights = {id(w): shape_of(w) for w in channels.model.weights}

    def shapes(self, alive: Alive) -> dict[int, list[int]]:
        """The shape that is left of each weight, by identity."""
        return self._shapes(self._counts(alive))

    def _counts(self, alive: Alive) -> Units:
        """How many positions of each bound axis are left."""
        if not self._keys:
            return np.zeros(0, np.int64)
        left = np.add.reduceat(alive[self._units], self._starts, dtype=np.int64)
        return np.asarray(left[self._place])

    def _shapes(self, counts: Units) -> dict[int, list[int]]:
        shapes = {key: list(shape) for key, shape in self._weights.items()}
        for (key, axis), count in zip(self._keys, counts.tolist(), strict=True):
            if key in shapes:
                shapes[key][axis] = count
        return shapes

    def macs(self, alive: Alive) -> int:
        """Multiply-accumulates with the units that are alive."""
        counts = self._counts(alive)

        def shape(weight: keras.Variable) -> tuple[int, ...]:
            sizes = list(self._weights[id(weight)])
            for place in self._at.get(id(weight), ()):
                sizes[self._keys[place][1]] = int(counts[place])
            return tuple(sizes)

        products = sum(self._product(visit, alive) for visit in self._products)
        return sum(c.macs(counts, shape) for c in self._calls) + products

    def _product(self, visit: Visit, alive: Alive) -> int:
        """A product of two tensors, at the sizes that are left of them."""
        inputs = tuple(self._channels.shape(ids, alive) for ids in visit.inputs)
        outputs = tuple(self._channels.shape(ids, alive) for ids in visit.outputs)
        return call_macs(replace(visit.call, inputs=inputs, outputs=outputs))

    def params(self, alive: Alive) -> int:
        """Numbers in all weights with the units that are alive."""
        return sum(math.prod(shape) for shape in self.shapes(alive).values())
