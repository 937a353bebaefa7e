"""What is tried next: the nearest miss of those that would beat the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgepress.deploy.fitting.plans import RUNGS, Plan, between, first_plans


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
    """

    plan: Plan
    rung: int
    seconds: float
    objective: float | None = None
    drop: float | None = None

    def keeps(self, max_drop: float) -> bool:
        """Whether it keeps the floor."""
        return self.drop is not None and self.drop <= max_drop


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
        """Epochs of recovery."""
        return RUNGS[self.rung]


def choose(tried: Sequence[Tried], max_drop: float, zeros_pay: bool, left_s: float) -> Next | None:
    """The next trial.

    First every plan without training, which costs little and says what each would bring. Then, of
    the plans that would beat the best one that keeps the floor, the nearest miss is trained three
    times as long, as successive halving promotes the best of a rung; a plan whose fall shrinks too
    slowly to reach the floor at the last rung is given up. Where nobody is left, a plan between the
    best one and its nearest miss.

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
    plans = {t.plan for t in tried}
    untried = [Next(plan, 0) for plan in first_plans(zeros_pay) if plan not in plans]
    if untried:
        return untried
    return [*_promoted(tried, max_drop), *_between(tried, max_drop)]


def _promoted(tried: Sequence[Tried], max_drop: float) -> list[Next]:
    """Plans that miss the floor, would beat the best, and may reach it with more training."""
    incumbent = best(tried, max_drop)
    least = incumbent.objective if incumbent is not None else None
    found = []
    for plan in {t.plan for t in tried}:
        rungs = sorted((t for t in tried if t.plan == plan), key=lambda t: t.rung)
        last = rungs[-1]
        if any(t.keeps(max_drop) for t in rungs) or last.drop is None or last.objective is None:
            continue
        beats = least is None or last.objective < least
        if beats and last.rung + 1 < len(RUNGS) and _may_reach(rungs, max_drop):
            found.append((last.drop, plan, last.rung + 1))
    return [Next(plan, rung) for _, plan, rung in sorted(found)]


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
    """A plan between the best one and the next one that removes more."""
    incumbent = best(tried, max_drop)
    if incumbent is None or incumbent.plan.share > 1:
        return []
    alike = [t.plan.share for t in tried if t.plan.sparsity == incumbent.plan.sparsity]
    share = between(alike, incumbent.plan.share)
    if share is None:
        return []
    return [Next(Plan(share, incumbent.plan.sparsity), max(1, incumbent.rung))]


def _fits(chosen: Next, tried: Sequence[Tried], left_s: float) -> bool:
    """Whether a trial fits into the time, as far as its cost is known."""
    return expected_seconds(chosen, tried) <= left_s


def expected_seconds(chosen: Next, tried: Sequence[Tried]) -> float:
    """What a trial will cost, from those so far: a fixed part, and one for each epoch."""
    untrained = [t.seconds for t in tried if t.rung == 0]
    fixed = sum(untrained) / len(untrained) if untrained else 0.0
    epochs = [max(0.0, t.seconds - fixed) / RUNGS[t.rung] for t in tried if t.rung > 0]
    return fixed + chosen.epochs * (max(epochs[-3:]) if epochs else 0.0)
