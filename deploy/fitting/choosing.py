"""What is tried next: the nearest miss of those that would beat the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgepress.deploy.fitting.plans import RUNGS, Plan, between, first_plans

# Where no plan is within the limits: how much of the smallest is tried next, and when that ends.
_STEP = 0.6
_LEAST = 0.03
# The last rung at which the given model is trained for int8 before anything is removed from it.
_EARLY = 2


@dataclass(frozen=True)
class Tried:
    """A plan that was tried.

    Attributes:
        plan: What was removed.
        rung: Which of `RUNGS` it was trained for.
        seconds: What the trial cost.
        objective: What is minimised; None where the trial gave no file.
        drop: How much the metric fell on validation data, plus one standard error; None where the
            trial gave no file.
        over: The share by which the file exceeds a limit; 0 or less where it holds all of them.
        float_drop: As `drop`, of the same model as a float file; None where training for int8 is
            no way out.
    """

    plan: Plan
    rung: int
    seconds: float
    objective: float | None = None
    drop: float | None = None
    over: float = 0.0
    float_drop: float | None = None

    @property
    def epochs(self) -> int:
        """Epochs of all its trainings."""
        return sum(self.plan.epochs(self.rung))

    @property
    def fits(self) -> bool:
        """Whether it gave a file that holds all limits."""
        return self.drop is not None and self.over <= 0

    def keeps(self, max_drop: float) -> bool:
        """Whether it keeps the floor and the limits."""
        return self.drop is not None and self.drop <= max_drop and self.fits


@dataclass(frozen=True)
class Next:
    """What is tried next.

    Attributes:
        plan: What is removed.
        rung: How long it is trained.
    """

    plan: Plan
    rung: int

    @property
    def epochs(self) -> int:
        """Epochs of all its trainings."""
        return sum(self.plan.epochs(self.rung))


def choose(tried: Sequence[Tried], max_drop: float, zeros_pay: bool, left_s: float) -> Next | None:
    """The next trial.

    First, where the given model misses the floor as int8 alone, training for int8. Then every plan
    without training, which costs little and says what each would bring. Then, of
    the plans that would beat the best one that keeps the floor, the nearest miss is trained three
    times as long, as successive halving promotes the best of a rung; a plan whose fall shrinks too
    slowly to reach the floor at the last rung is given up, and one whose float file keeps the floor
    is trained for int8 instead. Where nobody is left, a plan between the
    best one and its nearest miss. Plans over a limit aren't trained: that would not make them
    smaller.

    Args:
        tried: All trials so far.
        max_drop: Largest fall of the metric.
        zeros_pay: Whether zeros make smaller what is minimised.
        left_s: Seconds that are left; what would take longer isn't chosen.

    Returns:
        The trial; None where nothing is worth a trial, or fits into the time.

    Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
        optimization" (AISTATS 2016).
    """
    return next(
        (n for n in _worth_trying(tried, max_drop, zeros_pay) if _fits(n, tried, left_s)), None
    )


def best(tried: Sequence[Tried], max_drop: float) -> Tried | None:
    """The trial with the least objective of those that keep the floor."""
    kept = [t for t in tried if t.keeps(max_drop)]
    return min(kept, key=lambda t: (t.objective or 0.0, t.rung), default=None)


def _worth_trying(tried: Sequence[Tried], max_drop: float, zeros_pay: bool) -> list[Next]:
    """What could be tried, the most promising first."""
    whole = [t for t in tried if not t.plan.removes]
    promoted = _promoted(tried, max_drop)
    whole_first = [n for n in promoted if not n.plan.removes and n.rung <= _EARLY]
    if whole_first:
        return whole_first
    plans = {t.plan for t in tried}
    incumbent = best(whole, max_drop)
    qat = incumbent is not None and incumbent.plan.qat
    untried = [Next(plan, 0) for plan in first_plans(zeros_pay, qat) if plan not in plans]
    untried += _smaller(tried)
    if untried:
        return untried
    return [*promoted, *_between(tried, max_drop)]


def _promoted(tried: Sequence[Tried], max_drop: float) -> list[Next]:
    """Plans that miss the floor, would beat the best, and may reach it with more training."""
    incumbent = best(tried, max_drop)
    least = incumbent.objective if incumbent is not None else None
    found = []
    for plan in {t.plan for t in tried}:
        rungs = sorted((t for t in tried if t.plan == plan), key=lambda t: t.rung)
        last = rungs[-1]
        if any(t.keeps(max_drop) for t in rungs) or not last.fits or last.objective is None:
            continue
        trained = _trained(rungs, tried, max_drop)
        if trained is not None and (least is None or last.objective < least):
            found.append((last.drop or 0.0, trained.plan, trained.rung))
    return [Next(plan, rung) for _, plan, rung in sorted(found)]


def _trained(rungs: Sequence[Tried], tried: Sequence[Tried], max_drop: float) -> Next | None:
    """How a plan that misses the floor is trained next; None where that doesn't help.

    Args:
        rungs: Its trials, the least trained first.
        tried: All trials.
        max_drop: Largest fall of the metric.
    """
    last = rungs[-1]
    if not last.plan.qat and last.float_drop is not None and last.float_drop <= max_drop:
        other = replace(last.plan, qat=True)
        known = any(t.plan == other and (t.rung or t.plan.removes) for t in tried)
        return None if known else Next(other, max(1, last.rung))
    if not (last.plan.removes or last.plan.qat) or last.rung + 1 >= len(RUNGS):
        return None
    return Next(last.plan, last.rung + 1) if _may_reach(rungs, max_drop) else None


def _smaller(tried: Sequence[Tried]) -> list[Next]:
    """A plan that removes more, where all files are over a limit."""
    if any(t.fits for t in tried) or not any(t.plan.removes for t in tried):
        return []
    least = min(tried, key=lambda t: (t.plan.share, -t.plan.sparsity)).plan
    share = round(least.share * _STEP, 3)
    return [Next(replace(least, share=share), 0)] if share >= _LEAST else []


def _may_reach(rungs: Sequence[Tried], max_drop: float) -> bool:
    """Whether a fall that goes on shrinking as it did reaches the floor at the last rung.

    Learning curves are near a power law of the epochs. The untrained fall is no part of it.
    """
    trained = [t for t in rungs if t.rung > 0 and t.drop is not None]
    if len(trained) < 2:
        return True
    before, last = trained[-2], trained[-1]
    if not last.drop or not before.drop or last.drop >= before.drop:
        return False
    ends = [math.log(1 + RUNGS[rung]) for rung in (before.rung, last.rung, len(RUNGS) - 1)]
    slope = math.log(last.drop / before.drop) / (ends[1] - ends[0])
    return last.drop * math.exp(slope * (ends[2] - ends[1])) <= max_drop


def _between(tried: Sequence[Tried], max_drop: float) -> list[Next]:
    """A plan between the best one and the next one that removes more.

    Where none keeps the floor within the limits, one between the smallest that is over a limit and
    the next one.
    """
    incumbent = best(tried, max_drop)
    start = incumbent or min(
        (t for t in tried if t.drop is not None and not t.fits),
        key=lambda t: t.plan.share,
        default=None,
    )
    if start is None:
        return []
    alike = [t.plan.share for t in tried if t.plan.sparsity == start.plan.sparsity]
    share = between(alike, start.plan.share)
    if share is None:
        return []
    return [Next(replace(start.plan, share=share), max(1, start.rung) if incumbent else 0)]


def _fits(chosen: Next, tried: Sequence[Tried], left_s: float) -> bool:
    """Whether a trial fits into the time, as far as its cost is known."""
    return expected_seconds(chosen, tried) <= left_s


def expected_seconds(chosen: Next, tried: Sequence[Tried]) -> float:
    """What a trial will cost, from those so far: a fixed part, and one for each epoch."""
    untrained = [t.seconds for t in tried if t.rung == 0]
    fixed = sum(untrained) / len(untrained) if untrained else 0.0
    epochs = [max(0.0, t.seconds - fixed) / t.epochs for t in tried if t.epochs]
    return fixed + chosen.epochs * (max(epochs[-3:]) if epochs else 0.0)
