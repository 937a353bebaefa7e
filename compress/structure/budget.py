"""What a model costs when some units are removed, without building it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.cost import call_macs
from edgepress.compress.graph import Call
from edgepress.compress.structure.groups import Alive, Channels
from edgepress.compress.structure.trace import Visit

if TYPE_CHECKING:
    from edgepress.compress.structure.metering import Metering


def limit_of(given: float, full: float) -> float:
    """How much may stay: a number up to 1 is a share of what there is."""
    return given * full if given <= 1 else given


class Budget:
    """Exact MACs and parameters of a model with some units removed.

    All weight axes that channels run along lie in one array, so a new choice of units costs one
    look-up and one segmented sum, however many layers there are.

    Args:
        channels: The model's units.

    Attributes:
        metering: What must be measured, where the target or a device asks for it.
    """

    def __init__(self, channels: Channels) -> None:
        self.metering: Metering | None = None
        bound = [(b, units) for b, units in channels.bound if len(units)]
        self._keys = [(id(b.weight), b.axis) for b, _ in bound]
        lengths = [len(units) for _, units in bound]
        self._starts = np.cumsum([0, *lengths[:-1]]) if bound else np.zeros(0, np.int64)
        self._units = np.concatenate([u for _, u in bound]) if bound else np.zeros(0, np.int64)
        self._channels = channels
        self._calls: list[Call] = []
        self._products: list[Visit] = []
        self._fixed = 0
        moving = {key for key, _ in self._keys}
        for visit in channels.trace.visits:
            weights = getattr(visit.call.operation, "weights", ())
            if any(id(w) in moving for w in weights):
                self._calls.append(visit.call)
            elif not weights and call_macs(visit.call):
                self._products.append(visit)
            else:
                self._fixed += call_macs(visit.call)
        self._weights = {id(w): tuple(w.shape) for w in channels.model.weights}

    def shapes(self, alive: Alive) -> dict[int, list[int]]:
        """The shape that is left of each weight, by identity."""
        shapes = {key: list(shape) for key, shape in self._weights.items()}
        if self._keys:
            counts = np.add.reduceat(alive[self._units].astype(np.int64), self._starts)
            for (key, axis), count in zip(self._keys, counts.tolist(), strict=True):
                if key in shapes:
                    shapes[key][axis] = count
        return shapes

    def macs(self, alive: Alive) -> int:
        """Multiply-accumulates with the units that are alive."""
        shapes = self.shapes(alive)

        def shape(weight: Any) -> tuple[int, ...]:
            return tuple(shapes[id(weight)])

        products = (self._product(visit, alive) for visit in self._products)
        return self._fixed + sum(call_macs(c, shape) for c in self._calls) + sum(products)

    def _product(self, visit: Visit, alive: Alive) -> int:
        """A product of two tensors, at the sizes that are left of them."""
        inputs = tuple(self._channels.shape(ids, alive) for ids in visit.inputs)
        outputs = tuple(self._channels.shape(ids, alive) for ids in visit.outputs)
        return call_macs(replace(visit.call, inputs=inputs, outputs=outputs))

    def params(self, alive: Alive) -> int:
        """Numbers in all weights with the units that are alive."""
        return sum(math.prod(shape) for shape in self.shapes(alive).values())
