"""What is seen of each unit when samples run through the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.repair.least_squares import (
    RowSampler,
    is_linear,
    kernel_rows,
    taps,
)
from edgepress.compress.structure.tracing.groups import Channels, Units
from edgepress.compress.structure.tracing.replay import feed, watch

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.structure.channels.site import Visit

Matrix = NDArray[np.float64]
# Above this many features the taps of a kernel are taken as independent of each other.
_MOST_FEATURES = 1200
_ROWS_PER_FEATURE = 16


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads units through a kernel.

    Attributes:
        layer: Its path.
        units: Unit of each feature (row of the kernel matrix).
        covariance: (features, features) of the vectors that the kernel is multiplied with.
        kernel: (features, outputs).
    """

    layer: str
    units: Units
    covariance: Matrix
    kernel: Matrix

    @property
    def energy(self) -> float:
        """Variance of the layer's output, summed over its channels."""
        return float(np.einsum("io,ij,jo->", self.kernel, self.covariance, self.kernel))


@dataclass(frozen=True, eq=False)
class Observations:
    """What was seen.

    Attributes:
        magnitude: (units,) mean absolute value, where layers read the unit.
        activity: (units,) share of values that aren't zero.
        readers: The layers that read units.
    """

    magnitude: Matrix
    activity: Matrix
    readers: tuple[Reader, ...]


@dataclass(eq=False)
class _Collector:
    channels: Channels
    sums: dict[str, Matrix] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def see(self, visit: Visit, inputs: list[tf.Tensor], _outputs: list[tf.Tensor]) -> None:
        """Note one call."""
        layer = visit.call.operation
        kernel = getattr(layer, "kernel", None)
        if kernel is None or not is_linear(layer):
            self._see_any(visit, inputs)
            return
        units = self.channels.positions(kernel, len(kernel.shape) - 2)
        if units is None or id(layer) in self.seen:
            return
        self.seen.add(id(layer))
        count = taps(layer)
        sampler = RowSampler(_ROWS_PER_FEATURE * count * len(units) + 2000, 0)
        rows = sampler.rows(layer, inputs[0])
        self._add_values(rows.reshape(-1, len(units)), units)
        self.readers.append(_reader(visit.call.path, rows, kernel_rows(layer), units, count))

    def _see_any(self, visit: Visit, inputs: list[tf.Tensor]) -> None:
        """Other layers that read channels (recurrent, transposed, attention): magnitudes only."""
        layer = visit.call.operation
        owned = {id(w) for w in getattr(layer, "weights", ())}
        reads = any(b.role == "uses" and id(b.weight) in owned for b, _ in self.channels.bound)
        if not reads or not inputs:
            return
        ids = visit.inputs[0]
        if len(ids.varying) != 1:
            return
        axis = ids.varying[0]
        units = self.channels.unit_of[ids.array.ravel()]
        values = np.moveaxis(np.asarray(inputs[0], np.float64), axis, -1)
        self._add_values(values.reshape(-1, len(units)), units)

    def _add_values(self, values: Matrix, units: Units) -> None:
        here = units >= 0
        for name, column in (
            ("count", np.full(len(units), float(len(values)))),
            ("magnitude", np.abs(values).sum(0)),
            ("activity", (values != 0).sum(0).astype(np.float64)),
        ):
            total = self.sums.setdefault(name, np.zeros(self.channels.count))
            total += np.bincount(units[here], column[here], self.channels.count)


def _reader(path: str, rows: Matrix, kernel: Matrix, units: Units, count: int) -> Reader:
    if kernel.shape[0] > _MOST_FEATURES and count > 1:
        # One feature for each channel, its taps averaged and its kernel's energies summed.
        rows = rows.reshape(len(rows) * count, len(units))
        kernel = np.sqrt((kernel.reshape(count, len(units), -1) ** 2).sum(0))
        count = 1
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / len(rows)
    return Reader(path, np.tile(units, count), covariance, kernel)


def observe(channels: Channels, samples: Mapping[str, Any]) -> Observations:
    """Run samples through the model and note what the layers that read units see.

    Args:
        channels: The model's units.
        samples: (n, …) array for each input.

    Returns:
        The observations.
    """
    visits = {id(v.node): v for v in channels.trace.visits}
    collector = _Collector(channels)
    watch(visits, channels.model, feed(channels.model, samples), collector.see)
    empty = np.zeros(channels.count)
    count = np.maximum(collector.sums.get("count", empty), 1)
    return Observations(
        collector.sums.get("magnitude", empty) / count,
        collector.sums.get("activity", empty) / count,
        tuple(collector.readers),
    )
