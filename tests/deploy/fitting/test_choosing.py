"""What a fit tries next, against worlds where the fall and the cost of every plan are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.deploy.fitting.choosing import Next, Tried, best, choose
from edgepress.deploy.fitting.picking import KNEE, SAFEST, SMALLEST, picks
from edgepress.deploy.fitting.plans import RUNGS, Plan, between, first_plans

FLOOR = 0.01


@dataclass(frozen=True)
class World:
    """How models of this world answer to pruning and training.

    Attributes:
        hard: The fall at half the MACs without training.
        power: How fast training makes it smaller.
        epoch_s: Seconds of an epoch.
        most: The largest file that is allowed.
    """

    hard: float
    power: float
    epoch_s: float
    most: float = 1.0

    def tried(self, plan: Plan, rung: int) -> Tried:
        removed = 1 - plan.share * (1 - plan.sparsity / 2)
        fall = self.hard * (2 * removed) ** 2 * (1 + RUNGS[rung]) ** -self.power
        size = plan.share * (1 - plan.sparsity / 2)
        return Tried(plan, rung, 5 + self.epoch_s * RUNGS[rung], size, fall, size / self.most - 1)

    def run(self, seconds: float, zeros_pay: bool) -> list[Tried]:
        found = [self.tried(Plan(), 0)]
        while (chosen := choose(found, FLOOR, zeros_pay, seconds)) is not None:
            assert chosen.rung < len(RUNGS)
            assert (chosen.plan, chosen.rung) not in {(t.plan, t.rung) for t in found}
            done = self.tried(chosen.plan, chosen.rung)
            # An epoch's cost isn't known before the first was seen.
            known = any(t.rung > 0 for t in found) or chosen.rung == 0
            assert not known or done.seconds <= seconds + 1e-6
            seconds -= done.seconds
            found.append(done)
        return found


WORLDS = st.builds(
    World, st.floats(0.001, 0.6), st.floats(0.0, 1.5), st.sampled_from([0.5, 5.0, 60.0])
)


@given(WORLDS, st.sampled_from([60.0, 600.0, 6000.0]), st.booleans())
def test_a_fit_ends_and_all_the_time_never_gives_a_worse_file(
    world: World, seconds: float, zeros_pay: bool
) -> None:
    less, more = world.run(seconds, zeros_pay), world.run(math.inf, zeros_pay)
    one, other = best(less, FLOOR), best(more, FLOOR)
    assert one is not None
    assert other is not None
    assert (other.objective or 0) <= (one.objective or 0)


@given(WORLDS)
def test_with_all_the_time_no_neighbour_of_the_best_file_would_have_kept_the_floor(
    world: World,
) -> None:
    found = world.run(math.inf, zeros_pay=False)
    kept = best(found, FLOOR)
    assert kept is not None
    smaller = [plan for plan in first_plans(zeros_pay=False) if plan.share < kept.plan.share]
    for plan in smaller:
        assert world.tried(plan, len(RUNGS) - 1).drop > FLOOR  # type: ignore[operator]
    if smaller and kept.plan.share < 1:
        assert between([t.plan.share for t in found], kept.plan.share) is None


@given(WORLDS, st.floats(0.02, 1.0))
def test_a_limit_is_kept_and_plans_over_it_are_not_trained(world: World, most: float) -> None:
    found = replace(world, most=most).run(math.inf, zeros_pay=False)
    assert all(t.fits for t in found if t.rung > 0)
    assert best(found, FLOOR) in [None, *(t for t in found if (t.objective or 0) <= most)]
    # Plans get smaller until one is within the limit.
    assert any(t.fits for t in found) or min(t.plan.share for t in found) < 0.05


PTQ = Tried(Plan(qat=True), 0, 9.0, 0.3, 0.03)


def test_int8_that_misses_the_floor_alone_is_trained_before_anything_is_removed() -> None:
    found = [Tried(Plan(), 0, 9.0, 0.5, 0.0), PTQ]
    assert choose(found, FLOOR, False, math.inf) == Next(Plan(qat=True), 1)
    helped = [*found, Tried(Plan(qat=True), 1, 20.0, 0.3, 0.005)]
    chosen = choose(helped, FLOOR, False, math.inf)
    assert chosen is not None
    assert chosen.plan == first_plans(False, qat=True)[0]
    hopeless = [*found, *(Tried(Plan(qat=True), n, 20.0, 0.3, 0.03) for n in (1, 2))]
    chosen = choose(hopeless, FLOOR, False, math.inf)
    assert chosen is not None
    assert chosen.plan == first_plans(False)[0]


def test_a_plan_whose_float_file_keeps_the_floor_is_trained_for_int8() -> None:
    plans = first_plans(False)
    found = [Tried(Plan(), 0, 9.0, 1.0, 0.0)]
    found += [Tried(plan, 0, 9.0, plan.share, 0.5, 0.0, 0.4) for plan in plans]
    found[1] = Tried(plans[0], 0, 9.0, 0.8, 0.02, 0.0, 0.005)
    other = replace(plans[0], qat=True)
    assert choose(found, FLOOR, False, math.inf) == Next(other, 1)
    # Once that has been tried, it goes on there: the recovery of floats isn't what lacks.
    found.append(Tried(other, 1, 20.0, 0.8, 0.015))
    assert choose(found, FLOOR, False, math.inf) == Next(other, 2)


@given(st.builds(Plan, st.sampled_from([1.0, 0.5]), st.sampled_from([0.0, 0.5]), st.booleans()),
       st.sampled_from(range(len(RUNGS))))  # fmt: skip
def test_what_is_tried_is_trained_for_as_long_as_it_says(plan: Plan, rung: int) -> None:
    recovered = sum(step["recover"]["epochs"] for step in plan.steps(rung))
    epochs, qat = plan.epochs(rung)
    assert recovered == (epochs if plan.removes else 0)
    assert (qat > 0) == (plan.qat and rung > 0)


def test_a_plan_that_gives_no_file_is_left_alone() -> None:
    found = [Tried(Plan(), 0, 1.0, 1.0, 0.0)]
    found += [Tried(plan, 0, 1.0) for plan in first_plans(zeros_pay=False)]
    chosen = choose(found, FLOOR, False, math.inf)
    assert chosen is None or chosen.plan not in {t.plan for t in found}


@given(st.lists(st.tuples(st.floats(0, 0.02), st.floats(0.1, 1)), min_size=1, max_size=12))
def test_picks_keep_the_floor_and_none_beats_them(points: list[tuple[float, float]]) -> None:
    tried = [Tried(Plan(), 0, 1.0, size, fall) for fall, size in points]
    found = picks(tried, FLOOR)
    kept = [t for t in tried if t.keeps(FLOOR)]
    assert bool(found) == bool(kept)
    for place in found.values():
        one = tried[place]
        assert one.keeps(FLOOR)
        assert not any(
            t.drop <= one.drop and t.objective <= one.objective  # type: ignore[operator]
            and (t.drop, t.objective) != (one.drop, one.objective)
            for t in kept
        )  # fmt: skip
    if found:
        assert tried[found[SAFEST]].drop == min(t.drop for t in kept if t.drop is not None)
        assert tried[found[SMALLEST]].objective == min(t.objective or 0 for t in kept)


def test_the_knee_is_the_file_that_gives_much_for_little() -> None:
    points = [(0.0, 1.0), (0.001, 0.3), (0.009, 0.25)]
    tried = [Tried(Plan(), 0, 1.0, size, fall) for fall, size in points]
    assert picks(tried, FLOOR) == {SAFEST: 0, KNEE: 1, SMALLEST: 2}


@pytest.mark.parametrize(
    ("shares", "kept", "middle"),
    [((0.8, 0.65, 0.5), 0.65, 0.575), ((0.8, 0.75), 0.8, None), ((0.5,), 0.5, None)],
)
def test_the_next_plan_lies_between_the_best_and_its_neighbour(
    shares: tuple[float, ...], kept: float, middle: float | None
) -> None:
    assert between(shares, kept) == middle
