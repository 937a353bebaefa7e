"""How many units each group keeps, so that a budget is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.specs.amounts import limit_of
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.budgets.latency_search import Limit, Widths, WidthSearch
from edgepress.compress.structure.budgets.measured_targets import Budget, Gauge
from edgepress.compress.structure.budgets.width_ladders import (
    Ladder,
    Scores,
    alive_for,
    divisors,
    ladders_of,
    on_stairs,
)
from edgepress.compress.structure.planning.scoring import unit_shares
from edgepress.compress.structure.planning.unreachable import unreachable
from edgepress.compress.structure.tracing.groups import Alive, Channels

TOLERANCE = 0.05
# Share of a target that multiples may leave unused where no device says what they are worth.
UNUSED = 0.01
# With a device: of what the MACs fall by, how much the time is to fall by too.
TIME_TOO = 0.9
# How far below its target a plan may go then, for the next step of time.
DEEPEST = 0.1
# How often a time between that one and the one without a limit is tried.
_LOOKS = 5


@dataclass(frozen=True, eq=False)
class Target:
    """What a budget counts, and how much of it may stay.

    Attributes:
        what: "MACs", "parameters", "channels", or "bytes of size" and the like.
        limit: How much may stay.
        count: From units to the amount.
    """

    what: str
    limit: float
    count: Callable[[Alive], float]


def target_of(channels: Channels, spec: ChannelsSpec, budget: Budget) -> Target:
    """The budget of a pruning step; a number up to 1 is a share of what there is."""
    everything = channels.all_alive()
    gauge = budget.metering.target if budget.metering is not None else None
    if gauge is not None and gauge.limit is not None:
        return Target(f"{gauge.unit} of {gauge.what}", gauge.limit, gauge.count)
    if spec.target_macs is not None:
        return _limited("MACs", spec.target_macs, budget.macs, everything)
    if spec.target_params is not None:
        return _limited("parameters", spec.target_params, budget.params, everything)
    free = np.zeros(channels.count, bool)
    for group in channels.groups:
        if group.prunable:
            free[group.units] = True
    kept = round(int(free.sum()) * (1 - (spec.sparsity or 0.0)))
    return Target("channels", kept, lambda alive: int((alive & free).sum()))


def _limited(what: str, given: float, count: Callable[[Alive], float], full: Alive) -> Target:
    return Target(what, limit_of(given, count(full)), count)


def allocate(
    channels: Channels, scores: Scores, spec: ChannelsSpec, budget: Budget, stepped: bool = True
) -> Alive:
    """Choose the units that stay.

    Args:
        channels: The model's units.
        scores: For each group (by name) the importance of its units, comparable between groups.
        spec: Budget, allocation, floors and multiples.
        budget: Counts MACs and parameters.
        stepped: Whether only widths count at which time steps, where a device was named.

    Returns:
        (units,) whether each stays: within the budget, and not below it by more than 1 %; by 5 %
        where files are measured, by 10 % where a device's next step of time lies there, and by
        more where multiples that were asked for leave no nearer choice.

    Raises:
        InputError: The budget can't be reached; says the lowest reachable value and what holds it.
    """
    target = target_of(channels, spec, budget)
    for share in sorted({spec.min_share, 0.0}, reverse=True):
        relaxed = spec.model_copy(update={"min_share": share})
        alive = _allocate(channels, scores, relaxed, budget, stepped)
        if alive is not None:
            return alive
    spec = spec.model_copy(update={"min_share": 0.0})
    lowest, full = _lowest(channels, spec, scores), target.count(channels.all_alive())
    least, metering = target.count(lowest), budget.metering
    if metering is not None and metering.target is not None:
        least, full = metering.measured(metering.target, lowest), metering.target.full
        if least <= target.limit:
            return lowest
    raise unreachable(channels, spec, target.what, target.limit, least, full)


def _allocate(
    channels: Channels, scores: Scores, spec: ChannelsSpec, budget: Budget, stepped: bool
) -> Alive | None:
    """The units that stay with the floors of a spec, or None where the target lies below them."""
    target = target_of(channels, spec, budget)
    times = budget.metering.times if stepped and budget.metering is not None else None
    best = None
    for divisor in divisors(spec):
        ladders = ladders_of(channels, scores, spec, divisor)
        overrides = _overrides(channels, ladders, spec)
        if times is not None:
            ladders = on_stairs(channels, ladders, times)
        if times is not None and is_searched(spec):
            alive = _searched(channels, ladders, overrides, target, spec, budget)
        else:
            alive = _fit(channels, ladders, overrides, target, spec)
        if alive is not None:
            best = alive
            # Widths between those that were measured are no steps.
            if times is not None or target.count(alive) >= target.limit * (1 - TOLERANCE):
                break
    if best is None or budget.metering is not None:
        return best
    return _filled(channels, scores, spec, best, target)


def _filled(
    channels: Channels, scores: Scores, spec: ChannelsSpec, alive: Alive, target: Target
) -> Alive:
    """A choice with units given back, in finer and finer steps, until the target is nearly used."""
    for divisor in divisors(spec)[1:]:
        if target.count(alive) >= target.limit * (1 - UNUSED):
            break
        alive = refill(channels, scores, spec, alive, target, divisor)
    return alive


def is_searched(spec: ChannelsSpec) -> bool:
    """Whether widths are searched for at which time falls too."""
    targets = spec.target_macs, spec.target_latency
    return spec.allocation == "global" and any(t is not None for t in targets)


def _searched(
    channels: Channels,
    ladders: Sequence[Ladder],
    overrides: Mapping[str, int],
    target: Target,
    spec: ChannelsSpec,
    budget: Budget,
) -> Alive | None:
    """The widths of least damage that meet the target, and that save time as they save MACs."""
    prices = unit_shares(channels, spec, budget)
    aim = Limit(target.count, target.limit)

    def units(widths: Widths) -> Alive:
        return alive_for(channels, ladders, widths)

    def within(*limits: Limit) -> Alive | None:
        widths = WidthSearch(ladders, overrides, prices, units, [aim, *limits]).run()
        return None if widths is None else units(widths)

    found = within()
    clock = budget.metering.latency if budget.metering is not None else None
    if found is None or clock is None or spec.target_macs is None:
        return found
    return _in_time(channels, found, target, clock, within)


def time_wanted(full: float, share: float) -> float:
    """The time that a plan aims at too, which leaves a share of the MACs."""
    return full * (1 - TIME_TOO * (1 - share))


def _in_time(
    channels: Channels,
    found: Alive,
    target: Target,
    clock: Gauge,
    within: Callable[..., Alive | None],
) -> Alive:
    """A choice whose time has fallen as its MACs have; else the fastest just below the target."""
    share = target.limit / target.count(channels.all_alive())
    low, high = time_wanted(clock.full, share), clock.count(found)
    most = low
    for _ in range(_LOOKS):
        if high <= low:
            break
        faster = within(Limit(clock.count, most))
        if faster is not None and target.count(faster) >= target.limit * (1 - DEEPEST):
            found, high = faster, most
        else:
            low = most
        most = (low + high) / 2
    return found


def _fit(
    channels: Channels,
    ladders: Sequence[Ladder],
    overrides: Mapping[str, int],
    target: Target,
    spec: ChannelsSpec,
) -> Alive | None:
    """The least removal on the chosen path that meets the target, then refilled up to it."""
    free = [ladder for ladder in ladders if ladder.group.name not in overrides]
    path = _PATHS.get(spec.allocation, _by_rank)(free)

    def alive_at(point: int) -> Alive:
        return alive_for(channels, ladders, {**overrides, **path.widths(point)})

    low, high = 0, path.length
    if target.count(alive_at(high)) > target.limit:
        return None
    while low < high:
        middle = (low + high) // 2
        if target.count(alive_at(middle)) <= target.limit:
            high = middle
        else:
            low = middle + 1
    found = {**overrides, **path.widths(low)}
    if target.count(alive_for(channels, ladders, found)) < target.limit * (1 - TOLERANCE):
        above = {**overrides, **path.widths(max(low - 1, 0))}
        found = _trimmed(channels, ladders, above, free, target) or found
    return alive_for(channels, ladders, _refilled(channels, ladders, found, free, target))


def _trimmed(
    channels: Channels,
    ladders: Sequence[Ladder],
    widths: dict[str, int],
    free: Sequence[Ladder],
    target: Target,
) -> dict[str, int] | None:
    """From just above the target, the next steps in rank that don't overshoot it; else None."""
    lowest = target.limit * (1 - TOLERANCE)
    while target.count(alive_for(channels, ladders, widths)) > target.limit:
        narrower = []
        for ladder in free:
            name = ladder.group.name
            if below := ladder.below(widths[name]):
                lost = ladder.scores[ladder.group.size - below - 1]
                narrower.append((float(lost), name, below))
        for _, name, width in sorted(narrower):
            tried = {**widths, name: width}
            if target.count(alive_for(channels, ladders, tried)) >= lowest:
                widths = tried
                break
        else:
            return None
    return widths


def _refilled(
    channels: Channels,
    ladders: Sequence[Ladder],
    widths: dict[str, int],
    free: Sequence[Ladder],
    target: Target,
) -> dict[str, int]:
    """Give back steps that still fit, the most important ones first."""
    while True:
        wider = []
        for ladder in free:
            name = ladder.group.name
            if above := ladder.above(widths[name]):
                regained = ladder.scores[ladder.group.size - above]
                wider.append((float(regained), name, above))
        for _, name, width in sorted(wider, reverse=True):
            tried = {**widths, name: width}
            if target.count(alive_for(channels, ladders, tried)) <= target.limit:
                widths = tried
                break
        else:
            return widths


def refill(
    channels: Channels,
    scores: Scores,
    spec: ChannelsSpec,
    alive: Alive,
    target: Target,
    divisor: int,
) -> Alive:
    """Give back what still fits of a choice that ended below its target.

    Args:
        channels: The model's units.
        scores: Their importance, by group.
        spec: Multiples, and the widths that are fixed.
        alive: (units,) the choice.
        target: What fits.
        divisor: By how much the steps are finer than the spec's multiples.

    Returns:
        (units,) whether each stays; all that stayed before do.
    """
    ladders = ladders_of(channels, scores, spec, divisor)
    fixed = _overrides(channels, ladders, spec)
    free = [x for x in ladders if x.group.name not in fixed]
    widths = {x.group.name: int(alive[x.group.units].sum()) for x in ladders}
    return alive_for(channels, ladders, _refilled(channels, ladders, widths, free, target))


class _Path:
    """A sequence of removals; point 0 removes nothing, the last point all that may go."""

    def __init__(self, length: int, widths: Callable[[int], dict[str, int]]) -> None:
        self.length = length
        self.widths = widths


def _by_rank(ladders: Sequence[Ladder]) -> _Path:
    """All units of all groups in one ranking."""
    if not ladders:
        return _Path(0, lambda _: {})
    scores = np.concatenate([ladder.scores for ladder in ladders])
    owner = np.concatenate([np.full(x.group.size, i) for i, x in enumerate(ladders)])
    ranked = owner[np.argsort(scores, kind="stable")]

    def widths(point: int) -> dict[str, int]:
        removed = np.bincount(ranked[:point], minlength=len(ladders))
        return {
            x.group.name: x.width_for(min(int(n), x.group.size - x.widths[-1]))
            for x, n in zip(ladders, removed, strict=True)
        }

    return _Path(len(ranked), widths)


def _by_share(ladders: Sequence[Ladder]) -> _Path:
    """The same share of every group, in thousandths."""

    def widths(point: int) -> dict[str, int]:
        return {
            x.group.name: x.width_for(
                min(round(x.group.size * point / 1000), x.group.size - x.widths[-1])
            )
            for x in ladders
        }

    return _Path(1000, widths)


_PATHS: dict[str, Callable[[Sequence[Ladder]], _Path]] = {
    "global": _by_rank,
    "uniform": _by_share,
}


def _overrides(channels: Channels, ladders: Sequence[Ladder], spec: ChannelsSpec) -> dict[str, int]:
    """Widths that `per_layer` fixes; the first glob that matches one of a group's layers counts."""
    from edgepress.compress.weights.masks.prunable import check_globs, matches

    paths = [path for group in channels.groups for path in group.layers]
    check_globs("per_layer", list(spec.per_layer), paths)
    fixed = {}
    for glob, sparsity in spec.per_layer.items():
        if not 0 <= sparsity < 1:
            raise InputError(f"per_layer '{glob}': sparsity {sparsity:g} is not between 0 and 1")
        named = [g for g in channels.groups if any(matches(p, [glob]) for p in g.layers)]
        if sparsity and not any(g.prunable for g in named):
            raise InputError(
                f"per_layer '{glob}': none of its channels can be removed: {named[0].reason}",
                "leave it out, or unprotect it",
            )
        for ladder in ladders:
            name = ladder.group.name
            if name not in fixed and ladder.group in named:
                fixed[name] = ladder.width_for(round(ladder.group.size * sparsity))
    return fixed


def _lowest(channels: Channels, spec: ChannelsSpec, scores: Scores) -> Alive:
    """The fewest units that may stay."""
    ladders = ladders_of(channels, scores, spec, divisors(spec)[-1])
    overrides = _overrides(channels, ladders, spec)
    widths = {x.group.name: overrides.get(x.group.name, x.widths[-1]) for x in ladders}
    return alive_for(channels, ladders, widths)
