"""The widths that each group may have, and the order in which its units go."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import neg

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.specs.pruning import DEFAULT_MULTIPLE, ChannelsSpec
from edgepress.compress.structure.budgets.latency_model import LayerTimes, stairs, without_bumps
from edgepress.compress.structure.tracing.groups import Alive, Channels, Group

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Ladder:
    """The widths that one group may have, and the order in which its units go.

    Attributes:
        group: The group.
        order: Its units, the least important first.
        scores: Their scores in that order.
        widths: Allowed widths, the full one first, falling.
    """

    group: Group
    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    widths: tuple[int, ...]

    def width_for(self, removed: int) -> int:
        """The allowed width when this many units would go: never more go than that."""
        wanted = self.group.size - removed
        return self.widths[max(bisect_right(self.widths, -wanted, key=neg) - 1, 0)]

    def below(self, width: int) -> int:
        """The next narrower width; 0 where there is none."""
        place = bisect_right(self.widths, -width, key=neg)
        return self.widths[place] if place < len(self.widths) else 0

    def above(self, width: int) -> int:
        """The next wider width; 0 where there is none."""
        place = bisect_left(self.widths, -width, key=neg)
        return self.widths[place - 1] if place else 0


def multiple_for(size: int, round_to: int | None) -> int:
    """The multiple that a group's widths are kept at.

    One that is asked for is kept as it is. The default is 8, which a narrow group can't afford: a
    step is at most an eighth of the group, as a power of two (16 channels go in steps of 2, 64 and
    more in steps of 8).
    """
    if round_to is not None:
        return round_to
    step = DEFAULT_MULTIPLE
    while step > 1 and step > size // 8:
        step //= 2
    return max(step, 1)


def divisors(spec: ChannelsSpec) -> tuple[int, ...]:
    """By how much steps may be finer than the multiples, coarse ones first."""
    return (1,) if spec.round_to is not None else (1, 2, 4, 8)


def widths_for(size: int, step: int, floor: int) -> tuple[int, ...]:
    """Allowed widths of a group, falling.

    Args:
        size: Full width, always allowed.
        step: Other widths are multiples of this.
        floor: Fewest units that stay.
    """
    lowest = max(1, min(floor, size))
    steps = [w for w in range(size - 1, 0, -1) if w % step == 0 and w >= lowest]
    return (size, *steps)


def ladders_of(
    channels: Channels, scores: Scores, spec: ChannelsSpec, divisor: int = 1
) -> list[Ladder]:
    """A ladder for each group that can be pruned and has a choice."""
    found = []
    for group in channels.groups:
        if not group.prunable or group.size < 2:
            continue
        step = max(1, multiple_for(group.size, spec.round_to) // divisor)
        order = np.argsort(scores[group.name], kind="stable")
        floor = max(spec.min_channels, math.ceil(group.size * spec.min_share))
        widths = widths_for(group.size, step, floor)
        ranked = scores[group.name][order]
        found.append(Ladder(group, group.units[order], ranked, widths))
    return found


def alive_for(channels: Channels, ladders: Sequence[Ladder], widths: Mapping[str, int]) -> Alive:
    """The units that stay when each group has a width."""
    alive = channels.all_alive()
    for ladder in ladders:
        alive[ladder.order[: ladder.group.size - widths[ladder.group.name]]] = False
    return alive


def on_stairs(channels: Channels, ladders: Sequence[Ladder], times: LayerTimes) -> list[Ladder]:
    """Ladders with only those widths at which the measured time steps, all others being full."""
    found = []
    for ladder in ladders:
        at = [times(alive_for(channels, [ladder], {ladder.group.name: w})) for w in ladder.widths]
        # What the group doesn't touch would hide its steps.
        apart = at[0] - times.part(ladder.group.units)
        near = {w: time - apart for w, time in zip(ladder.widths, at, strict=True)}
        kept = stairs(ladder.widths, list(near.values()))
        kept = without_bumps(kept, [near[w] for w in kept])
        found.append(replace(ladder, widths=kept))
    return found
