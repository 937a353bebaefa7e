"""Why these channels, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.budgets.measured_targets import Instruments, budget_for
from edgepress.compress.structure.planning.measured_search import settle
from edgepress.compress.structure.planning.resolving import resolved
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.tracing.groups import Channels, Group, find_channels

if TYPE_CHECKING:
    import keras

    from edgepress.compress.structure.tracing.groups import Alive

_VERBS = {
    "makes": "makes them",
    "carries": "holds a value for each",
    "uses": "reads them",
}


@dataclass(frozen=True)
class Passenger:
    """A weight that loses something with a group's channels.

    Attributes:
        layer: Path of its layer.
        weight: Its name.
        axis: The axis that gets shorter.
        role: "makes", "carries" or "uses".
        before: The axis' length.
        after: What is left of it.
    """

    layer: str
    weight: str
    axis: int
    role: str
    before: int
    after: int


@dataclass(frozen=True)
class Explanation:
    """What a plan does to one group, and why.

    Attributes:
        group: Its name.
        layers: Layers that make its channels.
        reason: Why nothing can be removed, or empty.
        criterion: What channels were ranked by.
        scores: Score of each channel, in the group's order.
        removed: Channels that go.
        passengers: What goes with them.
        channels: How many channels the group has; what a pin united counts for each.
    """

    group: str
    layers: tuple[str, ...]
    reason: str
    criterion: str
    scores: tuple[float, ...]
    removed: tuple[int, ...]
    passengers: tuple[Passenger, ...]
    channels: int = 0

    def lines(self) -> Iterator[str]:
        """The explanation in words, line by line."""
        count = self.channels or len(self.scores)
        yield f"group {self.group}: {count} channels made by {', '.join(self.layers)}"
        if self.reason:
            yield f"none can be removed: {self.reason}"
            return
        if not self.removed:
            yield f"none removed: by {self.criterion}, other groups rank lower"
            return
        ranked = sorted(range(len(self.scores)), key=lambda i: self.scores[i])
        left = [i for i in ranked if i not in self.removed]
        yield (
            f"{len(self.removed)} are removed, those with the lowest {self.criterion} score:"
            f" {', '.join(f'{i} ({self.scores[i]:.3g})' for i in ranked if i in self.removed)}"
        )
        if left:
            yield f"the least important channel kept is {left[0]} ({self.scores[left[0]]:.3g})"
        for p in self.passengers:
            yield (
                f"  {p.layer} {p.weight} axis {p.axis}: {p.before} -> {p.after} ({_VERBS[p.role]})"
            )


def explain(
    model: keras.Model,
    layer: str,
    spec: ChannelsSpec,
    dataset: Dataset | None = None,
    seed: int = 0,
    instruments: Instruments | None = None,
) -> tuple[Explanation, ...]:
    """Say what a pruning step would do to the channels that a layer makes, and why.

    Args:
        model: A built Functional or Sequential model.
        layer: Path of a layer that makes channels.
        spec: The step.
        dataset: For criteria that look at data.
        seed: Draws samples.
        instruments: Measures files and devices, for targets that need it.

    Returns:
        One explanation for each kind of channels that the layer makes.

    Raises:
        InputError: No such layer makes channels, or the budget can't be reached.
    """
    spec = resolved(spec, dataset)
    channels = find_channels(model, spec.protect)
    groups = [g for g in channels.groups if layer in g.layers]
    if not groups:
        makers = [path for g in channels.groups for path in g.layers]
        raise InputError(f"no layer '{layer}' makes channels", near_names(layer, makers))
    budget = budget_for(channels, spec, instruments)
    scores = score_groups(channels, spec, dataset, budget, seed)
    alive = settle(channels, scores, spec, budget)
    return tuple(_explained(channels, g, scores, alive, spec.criterion) for g in groups)


def _explained(
    channels: Channels,
    group: Group,
    scores: Mapping[str, NDArray[np.float64]],
    alive: Alive,
    criterion: str,
) -> Explanation:
    found = scores.get(group.name, np.zeros(group.size))
    removed = np.flatnonzero(~alive[group.units])
    passengers = [
        Passenger(b.layer, b.weight.name, b.axis, b.role, len(units), int(alive[units].sum()))
        for b, units in channels.bound
        if np.isin(units, group.units[removed]).any()
    ]
    return Explanation(
        group.name,
        group.layers,
        group.reason,
        criterion,
        tuple(found.tolist()),
        tuple(removed.tolist()),
        tuple(passengers),
        group.channels,
    )
