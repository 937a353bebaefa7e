"""What criteria may look at: weights by unit, and what was observed on data."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from edgepress.compress.structure.importance.observations import Observations, observe
from edgepress.compress.structure.tracing.groups import Channels, Group, Units
from edgepress.compress.variables import seen

if TYPE_CHECKING:
    import keras

Rows = NDArray[np.float32]
_REDUCE: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a criterion may look at.

    Attributes:
        channels: The model's units.
        reduction: How coupled layers combine: "sum", "mean" or "max".
        seed: For random scores.
        samples: (n, …) array for each input, or None.
        targets: The samples' targets, or None.
        task: Gives the loss, or None.
    """

    channels: Channels
    reduction: str = "mean"
    seed: int = 0
    samples: Mapping[str, Any] | None = None
    targets: Any = None
    task: Any = None
    _values: dict[int, Rows] = field(default_factory=dict)

    def value(self, weight: keras.Variable) -> Rows:
        """A weight's values."""
        if id(weight) not in self._values:
            self._values[id(weight)] = np.asarray(seen(weight), np.float32)
        return self._values[id(weight)]

    @cached_property
    def _by_group(self) -> dict[str, list[tuple[Any, Units]]]:
        """For each group, the bindings that hold units of it."""
        groups = self.channels.groups
        owner = np.full(self.channels.count, -1, np.int64)
        for number, group in enumerate(groups):
            owner[group.units] = number
        found: dict[str, list[tuple[Any, Units]]] = {g.name: [] for g in groups}
        for binding, units in self.channels.bound:
            owners = owner[units]
            same = owners.size and (owners == owners[0]).all()
            for number in owners[:1] if same else np.unique(owners):
                if number < 0:
                    continue
                held = units if same else np.where(owners == number, units, -1)
                found[groups[number].name].append((binding, held))
        return found

    def bound(self, group: Group, role: str) -> Iterator[tuple[Any, Units]]:
        """Bindings of a role that hold units of a group; -1 marks positions of other groups."""
        for binding, units in self._by_group[group.name]:
            if binding.role == role:
                yield binding, units

    def makers(self, group: Group) -> Iterator[tuple[Rows, Units]]:
        """For each kernel that makes a group's units: (positions, numbers) and the units."""
        for binding, units in self.bound(group, "makes"):
            if len(binding.weight.shape) > 1 and "bias" not in binding.weight.name:
                yield _rows(self.value(binding.weight), binding.axis), units

    def scales(self, group: Group) -> Iterator[tuple[Rows, Units]]:
        """For each normalisation that a group passes: its scales and the units."""
        for binding, units in self.bound(group, "carries"):
            if binding.weight.name == "gamma":
                yield self.value(binding.weight).ravel(), units

    def per_unit(
        self, group: Group, units: Units, values: Float[np.ndarray, "p"]
    ) -> Float[np.ndarray, "u"]:
        """Sum of the values at each unit's positions; -1 marks positions of other groups."""
        here = units >= 0
        places = np.searchsorted(group.units, units[here])
        return np.bincount(places, weights=values[here].astype(np.float64), minlength=group.size)

    def combine(self, parts: Sequence[Float[np.ndarray, "u"]]) -> Float[np.ndarray, "u"]:
        """Scores of coupled layers as one, each brought to mean 1 first."""
        scaled = [p / max(float(p.mean()), 1e-30) for p in parts]
        return np.asarray(_REDUCE[self.reduction](np.stack(scaled), axis=0), np.float64)

    def random(self, group: Group) -> np.random.Generator:
        """A generator of a group's own."""
        return np.random.default_rng(
            (self.seed, zlib.crc32(group.name.encode("utf-8", "surrogatepass")))
        )

    @cached_property
    def observations(self) -> Observations:
        """What was seen when the samples ran through the model; observed on first use."""
        assert self.samples is not None
        return observe(self.channels, self.samples)

    @cached_property
    def taylor(self) -> Float[np.ndarray, "u"]:
        """First-order effect on the loss of each unit's removal; measured on first use."""
        from edgepress.compress.structure.importance.gradients import unit_effects

        return unit_effects(self.channels, self.samples or {}, self.targets, self.task)


def _rows(value: Rows, axis: int) -> Rows:
    """(positions, numbers) of a weight; where the axis comes last, nothing is moved for it."""
    count = value.shape[axis]
    if axis % value.ndim == value.ndim - 1:
        return value.reshape(-1, count).T
    return np.moveaxis(value, axis, 0).reshape(count, -1)
