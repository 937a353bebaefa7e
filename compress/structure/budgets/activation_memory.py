"""An estimate of the memory that activations need at one time, without building the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.channels.ids import Ids
from edgepress.compress.structure.tracing.groups import Alive, Channels

# Exponent of the mean over the steps of the graph. A plain maximum would say nothing of the steps
# just below it, which are the highest as soon as that one has shrunk.
_SHARPNESS = 8


@dataclass
class _Buffers:
    """Activations by number: what lies in each, and when it is needed."""

    ids: list[Ids] = field(default_factory=list)
    lives: list[list[int]] = field(default_factory=list)
    of: dict[int, int] = field(default_factory=dict)

    def use(self, ids: Ids, step: int) -> None:
        """A step reads an activation; one never made is an input of the model."""
        if id(ids) not in self.of:
            self.make(ids, step)
        self.lives[self.of[id(ids)]][1] = step

    def make(self, ids: Ids, step: int) -> None:
        """A step makes an activation."""
        self.of[id(ids)] = len(self.ids)
        self.ids.append(ids)
        self.lives.append([step, step])


def live_bytes(channels: Channels) -> Callable[[Alive], float]:
    """From units to about the most bytes of float activations that are alive at one time.

    What only passes its one input on in the same shape (normalisation, activation) needs no memory
    of its own: in a TFLite file it is fused, or works in place.

    Args:
        channels: The model's units.

    Returns:
        A function that rises with the units. At all units it is the exact peak of this order.
    """
    loads = _loads(channels)
    full = loads(channels.all_alive())
    peak = float(full.max())
    if not peak:
        return lambda _: 0.0
    norm = float(((full / peak) ** _SHARPNESS).sum())

    def estimate(alive: Alive) -> float:
        powers = float(((loads(alive) / peak) ** _SHARPNESS).sum())
        return float(peak * (powers / norm) ** (1 / _SHARPNESS))

    return estimate


def peak_bytes(channels: Channels) -> Callable[[Alive], float]:
    """From units to the most bytes that are alive at one time, exact for this order of the layers.

    It says nothing of all that lies below the peak: a search needs `live_bytes` to go down by.
    """
    loads = _loads(channels)
    return lambda alive: float(loads(alive).max())


def _buffers(channels: Channels) -> _Buffers:
    buffers = _Buffers()
    for step, visit in enumerate(channels.trace.visits):
        for ids in visit.inputs:
            buffers.use(ids, step)
        for ids in visit.outputs:
            if len(visit.inputs) == 1 and _same(visit.inputs[0], ids):
                buffers.of[id(ids)] = buffers.of[id(visit.inputs[0])]
            else:
                buffers.make(ids, step)
    return buffers


def _same(a: Ids, b: Ids) -> bool:
    return a is b or (a.shape == b.shape and np.array_equal(a.array, b.array))


def _loads(channels: Channels) -> Callable[[Alive], NDArray[np.float64]]:
    """From units to the bytes that are alive at each step of the graph."""
    buffers = _buffers(channels)
    if not buffers.ids:
        return lambda _: np.zeros(1)
    units = [channels.unit_of[ids.array].ravel() for ids in buffers.ids]
    flat = np.concatenate(units)
    starts = np.cumsum([0, *(len(u) for u in units[:-1])])
    places = np.array([_elements(i) / i.array.size for i in buffers.ids])
    steps = len(channels.trace.visits)
    alive_at = np.zeros((steps, len(units)))
    for number, (first, last) in enumerate(buffers.lives):
        alive_at[first : last + 1, number] = 4 * places[number]

    def loads(alive: Alive) -> NDArray[np.float64]:
        # Unit -1 stands for what is never removed: it finds the value appended here.
        kept = np.append(alive, True)[flat].astype(np.int64)
        return np.asarray(alive_at @ np.add.reduceat(kept, starts))

    return loads


def _elements(ids: Ids) -> int:
    return math.prod(size or 1 for size in ids.shape)
