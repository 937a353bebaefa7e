"""Widths that meet several limits at once (multiply-accumulates and time) at the least damage.

Time and MACs fall in different places: a width between two steps of the device saves MACs and no
time. A ranking of units knows one price of each, so widths are searched for here instead: down by
damage for what is still over a limit, up again where there is room, then exchanged as long as that
does less damage (a local search for the knapsack of several dimensions).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.budgets.width_ladders import Ladder
from edgepress.compress.structure.tracing.groups import Alive

# Looks at choices of widths that the exchange may take: some seconds for a large model.
_MOST_LOOKS = 6000

Widths = dict[str, int]


@dataclass(frozen=True, eq=False)
class Limit:
    """How much of a quantity may stay.

    Attributes:
        count: From units to the amount.
        most: How much may stay.
    """

    count: Callable[[Alive], float]
    most: float


class WidthSearch:
    """Looks for the widths of least damage within limits.

    Args:
        ladders: The groups and their widths.
        fixed: Widths that aren't searched for.
        prices: What a score of 1 means as damage, by group.
        alive_for: From widths to units.
        limits: What has to be met.
    """

    def __init__(
        self,
        ladders: Sequence[Ladder],
        fixed: Mapping[str, int],
        prices: Mapping[str, float],
        alive_for: Callable[[Widths], Alive],
        limits: Sequence[Limit],
    ) -> None:
        self._fixed, self._alive_for, self._limits = dict(fixed), alive_for, limits
        self._ladders = {x.group.name: x for x in ladders if x.group.name not in fixed}
        self._damage = {name: _damage(x, prices[name]) for name, x in self._ladders.items()}
        self._seen: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def run(self) -> Widths | None:
        """Widths within all limits, or None where the narrowest ones aren't."""
        full = {name: x.widths[0] for name, x in self._ladders.items()}
        found = self._lowered(full, "")
        if found is None:
            return None
        found = self._raised(found, "")
        better: Widths | None = found
        while better is not None:
            found, better = better, self._exchanged(better)
        return {**self._fixed, **found}

    def _over(self, widths: Widths) -> NDArray[np.float64]:
        """(limits,) how far each is exceeded, as a share of it; below 0 there is room."""
        key = tuple(widths.values())
        if key not in self._seen:
            alive = self._alive_for({**self._fixed, **widths})
            self._seen[key] = np.array([x.count(alive) / x.most - 1 for x in self._limits])
        return self._seen[key]

    def _lost(self, widths: Widths) -> float:
        return sum(self._damage[name][width] for name, width in widths.items())

    def _lowered(self, widths: Widths, but: str) -> Widths | None:
        """Narrower until all limits are met, by damage for what is saved; one group is left be."""
        waiting: list[tuple[float, str]] = []
        for name in self._ladders:
            if name != but:
                self._queue(waiting, widths, name)
        while (self._over(widths) > 0).any():
            if not waiting:
                return None
            _, name = heapq.heappop(waiting)
            price = self._queue(waiting, widths, name)
            # Prices rise as other groups get narrower: this one's is from before.
            if price is None or waiting[0][1] != name:
                continue
            heapq.heappop(waiting)
            widths = {**widths, name: self._ladders[name].below(widths[name])}
            self._queue(waiting, widths, name)
        return widths

    def _queue(self, waiting: list[tuple[float, str]], widths: Widths, name: str) -> float | None:
        """Price a group's next step and queue it; None where it has none that saves anything."""
        below = self._ladders[name].below(widths[name])
        if not below:
            return None
        over, then = self._over(widths), self._over({**widths, name: below})
        saved = float(np.minimum(over - then, over)[over > 0].sum())
        if saved <= 0:
            return None
        price = (self._damage[name][below] - self._damage[name][widths[name]]) / saved
        heapq.heappush(waiting, (price, name))
        return price

    def _raised(self, widths: Widths, but: str) -> Widths:
        """Wider where there is room, by the damage that is undone; one group is left be."""
        while True:
            wider = [
                (self._damage[name][widths[name]] - self._damage[name][above], name, above)
                for name in self._ladders
                if name != but and (above := self._ladders[name].above(widths[name]))
            ]
            for _, name, above in sorted(wider, reverse=True):
                tried = {**widths, name: above}
                if (self._over(tried) <= 0).all():
                    widths = tried
                    break
            else:
                return widths

    def _exchanged(self, widths: Widths) -> Widths | None:
        """Widths of less damage: one group a step up or down, the others as that asks for."""
        lost = self._lost(widths)
        for name, ladder in self._ladders.items():
            for width in (ladder.above(widths[name]), ladder.below(widths[name])):
                if not width or len(self._seen) > _MOST_LOOKS:
                    continue
                lowered = self._lowered({**widths, name: width}, name)
                if lowered is None:
                    continue
                tried = self._raised(lowered, name)
                if self._lost(tried) < lost * (1 - 1e-9):
                    return tried
        return None


def _damage(ladder: Ladder, price: float) -> dict[int, float]:
    """By width, what goes with the units that a group then lacks."""
    lost = np.concatenate([[0.0], np.cumsum(ladder.scores)]) * price
    return {width: float(lost[ladder.group.size - width]) for width in ladder.widths}
