"""From a plan by estimates to one that holds when it is measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepress.compress.errors import InputError
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.budgets.measured_targets import Budget, Gauge, Metering
from edgepress.compress.structure.budgets.width_ladders import Scores, divisors
from edgepress.compress.structure.planning.allocate import (
    TOLERANCE,
    Target,
    allocate,
    is_searched,
    refill,
    target_of,
    time_wanted,
)
from edgepress.compress.structure.tracing.groups import Alive, Channels

# How often a plan is made again; the estimate is off by a factor, so two or three are enough.
_TRIES = 6
# How often a choice that ended far below is filled up, with steps of one size.
_LOOKS = 2


def settle(channels: Channels, scores: Scores, spec: ChannelsSpec, budget: Budget) -> Alive:
    """Choose the units that stay; measure what that gives, and choose again until the target holds.

    Args:
        channels: The model's units.
        scores: Importance of the units, by group.
        spec: Budget, allocation, floors and multiples.
        budget: Counts and measures.

    Returns:
        The units that stay. The measured value is within the target; it is within 5 % of it
        where the allowed widths permit that.

    Raises:
        InputError: The target can't be reached.
    """
    alive = allocate(channels, scores, spec, budget)
    metering = budget.metering
    if metering is None:
        return alive
    if metering.target is not None:
        search = _Search(channels, scores, spec, budget, metering, metering.target)
        alive = search.nearer(search.held(alive))
    plain = None
    if metering.times is not None:
        plain = allocate(channels, scores, spec, budget, stepped=False)
    metering.settle(alive, plain, budget.macs)
    if metering.times is not None and spec.target_macs is not None and is_searched(spec):
        metering.notes = tuple(_on_time(channels, alive, spec, budget, metering))
    return alive


def _on_time(
    channels: Channels, alive: Alive, spec: ChannelsSpec, budget: Budget, metering: Metering
) -> Iterator[str]:
    """Where MACs end below their target for the time's sake, and where the time lags behind."""
    target, full = target_of(channels, spec, budget), budget.macs(channels.all_alive())
    asked, kept = target.limit / full, budget.macs(alive) / full
    if kept < asked * (1 - TOLERANCE):
        yield (
            f"MACs fall to {kept:.2f} of what they were, {asked:.2f} was asked for: latency"
            f" on {metering.device} is stepwise at these widths"
        )
    (clock,) = (m for m in metering.accounts if m.what == "latency")
    share = clock.after / clock.before
    if share > time_wanted(1.0, asked) + TOLERANCE:
        yield (
            f"the time on {metering.device} falls to {share:.2f} only: no widths near that target"
            " save more of it; target_latency prunes as far as needed, and structure layers leaves"
            " out whole blocks"
        )


@dataclass(frozen=True, eq=False)
class _Search:
    """Choices of units, measured until one holds.

    Attributes:
        channels: The model's units.
        scores: Importance of the units, by group.
        spec: Allocation, floors and multiples.
        budget: Counts.
        metering: Measures.
        gauge: What has the target.
    """

    channels: Channels
    scores: Scores
    spec: ChannelsSpec
    budget: Budget
    metering: Metering
    gauge: Gauge

    @property
    def limit(self) -> float:
        """What may be measured at most."""
        return self.gauge.limit or 0.0

    def measured(self, alive: Alive) -> float:
        """What a choice comes to."""
        return self.metering.measured(self.gauge, alive)

    def held(self, alive: Alive) -> Alive:
        """The best choice whose measured value is within the target, from a first one on."""
        gauge, limit = self.gauge, self.limit
        best: tuple[float, Alive, float] | None = None
        for misses in range(_TRIES):
            value = self.measured(alive)
            if value <= limit and (best is None or value > best[0]):
                best = value, alive, gauge.slope
            if best is not None and best[0] >= limit * (1 - TOLERANCE):
                break
            # A little more after each miss, or two choices could take turns for ever.
            margin = 1 + 0.02 * misses if value > limit else 1.0
            gauge.correct(alive, value, margin)
            before, alive = alive, allocate(self.channels, self.scores, self.spec, self.budget)
            if best is not None and (alive == before).all():
                break
        if best is None:
            raise InputError(
                f"the {gauge.what} measured {value:,.3f} {gauge.unit} after {_TRIES} plans, and"
                f" {limit:,.3f} is asked for",
                "ask for more, or measure on a quieter machine" if gauge.unit == "ms" else "",
            )
        # What the plan expected before it was measured is the prediction worth showing.
        gauge.slope = best[2]
        return best[1]

    def nearer(self, alive: Alive) -> Alive:
        """A choice that leaves more and is measured to hold too, where a plan ended far below.

        Units are given back by the estimate that tells close choices apart, in finer and finer
        steps.
        """
        gauge = self.gauge
        if gauge.near is None:
            return alive
        for divisor in divisors(self.spec):
            like = alive
            for _ in range(_LOOKS):
                value = self.measured(alive)
                if value >= self.limit * (1 - TOLERANCE):
                    return alive
                # What the planner of the file needs for each byte that is alive at the peak.
                rate = self.measured(like) / max(gauge.near(like), 1.0)
                target = Target(gauge.what, self.limit / rate, gauge.near)
                like = refill(self.channels, self.scores, self.spec, alive, target, divisor)
                if value < self.measured(like) <= self.limit:
                    alive = like
        return alive
