"""Targets that only files and devices show, against made-up instruments that can be wrong."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress import prune
from edgepress.compress.cost import model_cost
from edgepress.compress.errors import InputError
from edgepress.compress.pruning import prune_as
from edgepress.compress.specs.amounts import latency_ms, parse_latency
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.activation_memory import live_bytes, peak_bytes
from edgepress.compress.structure.budgets.latency_model import (
    stairs,
    widths_measured,
    without_bumps,
)
from edgepress.compress.structure.budgets.latency_search import Limit, WidthSearch
from edgepress.compress.structure.budgets.layer_size import LayerSize
from edgepress.compress.structure.budgets.measured_targets import budget_for
from edgepress.compress.structure.budgets.width_ladders import Ladder
from edgepress.compress.structure.planning.plan import PruningPlan, apply_plan, make_plan
from edgepress.compress.structure.structured_run import rounds_of
from edgepress.compress.structure.tracing.groups import Group, find_channels

L = keras.layers


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    i = keras.Input((12, 12, 3))
    x = L.Conv2D(32, 3, padding="same", name="stem")(i)
    x = L.SeparableConv2D(32, 3, padding="same", name="separable")(x)
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(64, 3, padding="same", name="wide")(x)))
    x = L.Add()([x, L.Conv2D(32, 1, name="back")(y)])
    x = L.Dense(24, activation="relu", name="head")(L.GlobalAveragePooling2D()(x))
    return keras.Model(i, L.Dense(5, name="out")(x))


def spec(**options: object) -> PruneSpec:
    return PruneSpec(structure="channels", criterion="l1", **options)


def stepped(size: LayerSize) -> float:
    """A device that computes outputs sixteen at a time."""
    area = size.area[0] * size.area[1] / (size.strides[0] * size.strides[1])
    outputs = 1 if size.kind == "depthwise" else -(-size.outputs // 16) * 16
    return 1e-6 * area * size.kernel[0] * size.kernel[1] * size.inputs * outputs


class Pretended:
    """Instruments whose values follow from the model, but not as the estimates expect."""

    def size(self, model: keras.Model) -> float:
        return 3000.0 + 5.5 * model.count_params()

    def arena(self, model: keras.Model) -> float:
        channels = find_channels(model)
        return 700.0 + live_bytes(channels)(channels.all_alive()) ** 1.05

    def latency(self, model: keras.Model) -> float:
        from edgepress.compress.structure.budgets.sized_layers import sized

        visits = find_channels(model).trace.visits
        return 0.002 + 1.3 * sum(stepped(s.size) for v in visits for s in sized(v.call))

    def layer_times(self, sizes: Sequence[LayerSize]) -> Mapping[LayerSize, float]:
        return {size: stepped(size) for size in sizes}


@pytest.mark.parametrize("what", ["size", "arena", "latency"])
@pytest.mark.parametrize("share", [0.8, 0.5])
def test_the_target_holds_when_it_is_measured(what: str, share: float) -> None:
    model, tools = network(), Pretended()
    device = {"device": "made-up"} if what == "latency" else {}
    plan = make_plan(model, spec(**{f"target_{what}": share}, **device), instruments=tools)
    small = apply_plan(model, plan)
    measure = getattr(tools, what)
    assert measure(small) <= share * measure(model)
    account = plan.measured[0]
    assert (account.what, account.after) == (what, measure(small))
    # Steps of sixteen leave no width between, so a latency may end well below its target.
    assert account.after >= (0.9 if what != "latency" else 0.5) * share * measure(model)
    assert PruningPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_a_peak_that_ends_far_below_its_target_is_filled_up_again(
    share: float, allocation: str
) -> None:
    class Exact(Pretended):
        """A planner that finds the peak which the mean over the steps only comes near."""

        def arena(self, model: keras.Model) -> float:
            channels = find_channels(model)
            return 700.0 + 1.07 * peak_bytes(channels)(channels.all_alive())

    model, tools = network(), Exact()
    plan = make_plan(model, spec(target_arena=share, allocation=allocation), instruments=tools)
    limit = share * tools.arena(model)
    assert 0.95 * limit <= tools.arena(apply_plan(model, plan)) <= limit


def test_an_absolute_target_holds_too_and_one_below_reach_says_how_low_it_goes() -> None:
    model, tools = network(), Pretended()
    plan = make_plan(model, spec(target_size=90_000), instruments=tools)
    assert 0.9 * 90_000 <= tools.size(apply_plan(model, plan)) <= 90_000
    said = r"30 bytes of size can't be reached: the lowest is ([\d,]+) .*limited by"
    with pytest.raises(InputError, match=said):
        make_plan(model, spec(target_size=30), instruments=tools)
    said = r"0\.001 ms of latency can't be reached: the lowest is 0\.1"
    with pytest.raises(InputError, match=said):
        make_plan(model, spec(target_latency="1us", device="made-up"), instruments=tools)


def test_with_a_device_widths_lie_on_its_steps_whatever_the_target() -> None:
    model, tools = network(), Pretended()
    plan = make_plan(model, spec(target_macs=0.5, device="made-up"), instruments=tools)
    small = apply_plan(model, plan)
    assert plan.macs[1] <= 0.5 * plan.macs[0]
    latency = plan.measured[0]
    # Sixteen outputs cost as much as fewer, whatever the reader of them saves.
    assert small.get_layer("wide").kernel.shape[-1] in (16, 32, 48, 64)
    assert latency.limit is None
    assert latency.plain_predicted is not None
    assert latency.predicted <= latency.plain_predicted
    assert latency.predicted == pytest.approx(tools.latency(small), rel=0.15)
    assert "plainly rounded widths" in latency.line()


def test_with_a_device_the_time_falls_as_the_macs_do() -> None:
    model, tools = network(), Pretended()
    before, after = {}, {}
    for name, options in {"rounded": {}, "timed": {"device": "made-up"}}.items():
        plan = make_plan(model, spec(target_macs=0.5, **options), instruments=tools)
        before[name], after[name] = plan.macs[0], tools.latency(apply_plan(model, plan))
        assert 0.45 * plan.macs[0] <= plan.macs[1] <= 0.5 * plan.macs[0]
    assert after["timed"] <= 0.6 * tools.latency(model)
    assert after["timed"] < after["rounded"]


def test_what_time_costs_is_said() -> None:
    class Steady(Pretended):
        """A device on which no layer's width matters."""

        def latency(self, model: keras.Model) -> float:
            return 1.0

    result = prune_as(spec(target_macs=0.5, device="made-up"), network(), instruments=Steady())
    assert any("the time on made-up falls to 1.00 only" in note for note in result.notes)
    quick = prune_as(spec(target_macs=0.5, device="made-up"), network(), instruments=Pretended())
    assert not any("falls to" in note and "only" in note for note in quick.notes)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([(0.5,), (0.4, 0.7)]))
def test_searched_widths_are_within_all_limits_and_near_the_best(
    seed: int, groups: int, shares: tuple[float, ...]
) -> None:
    random = np.random.default_rng(seed)
    sizes = [int(s) for s in random.integers(2, 9, groups)]
    starts = np.cumsum([0, *sizes])
    ladders = []
    for number, size in enumerate(sizes):
        units = np.arange(starts[number], starts[number + 1])
        scores = np.sort(random.random(size))
        group = Group(str(number), (), units, "")
        ladders.append(Ladder(group, units, scores, tuple(range(size, 0, -1))))
    costs = random.random((len(shares), groups + 1))

    def amount(which: int, alive: np.ndarray) -> float:
        widths = [alive[x.group.units].sum() / x.group.size for x in ladders]
        # Layers between groups: each costs the product of the widths beside it.
        beside = zip(costs[which], [1, *widths], [*widths, 1], strict=True)
        return float(sum(c * a * b for c, a, b in beside))

    def units_of(widths: dict[str, int]) -> np.ndarray:
        alive = np.ones(starts[-1], bool)
        for ladder in ladders:
            alive[ladder.order[: ladder.group.size - widths[ladder.group.name]]] = False
        return alive

    def lost(widths: dict[str, int]) -> float:
        return sum(float(x.scores[: x.group.size - widths[x.group.name]].sum()) for x in ladders)

    whole = np.ones(starts[-1], bool)
    limits = [Limit(partial(amount, n), share * amount(n, whole)) for n, share in enumerate(shares)]
    prices = {x.group.name: 1.0 for x in ladders}
    found = WidthSearch(ladders, {}, prices, units_of, limits).run()
    names = [x.group.name for x in ladders]
    every = (
        dict(zip(names, w, strict=True)) for w in itertools.product(*(x.widths for x in ladders))
    )
    fit = [w for w in every if all(x.count(units_of(w)) <= x.most for x in limits)]
    if not fit:
        assert found is None
        return
    assert found is not None
    assert found in fit
    assert lost(found) <= 1.5 * min(map(lost, fit)) + 1e-9


def test_rounds_go_down_in_what_is_measured() -> None:
    step = spec(target_latency=0.25, device="made-up", steps=2)
    limits = [latency_ms(str(r.target_latency)) for r in rounds_of(step, 1, 1, 8.0)]
    assert limits == pytest.approx([4.0, 2.0])
    sizes = [r.target_size for r in rounds_of(spec(target_size=0.25, steps=2), 1, 1, 8000.0)]
    assert sizes == pytest.approx([4000, 2000])


def test_what_cant_be_measured_is_refused() -> None:
    for options, said in [
        ({"structure": "channels", "target_size": 0.5}, "target_size is measured"),
        ({"structure": "channels", "target_macs": 0.5, "device": "local"}, "device is measured"),
        ({"structure": "channels", "target_latency": 0.5}, "target_latency needs device"),
        ({"structure": "layers", "target_arena": 0.5}, "target_arena is for structure channels"),
        ({"target_size": 0.5}, "target_size is measured"),
        ({"target_arena": 0.5}, "not target_arena"),
        ({"structure": "channels", "target_latency": "fast", "device": "local"}, "milliseconds"),
        ({"structure": "channels", "target_macs": 0.5, "threads": 2}, "give device too"),
        (
            {"structure": "layers", "target_macs": 0.5, "round_to": 4},
            "round_to is for structure ch",
        ),
        (
            {"structure": "layers", "target_macs": 0.5, "per_layer": {"wide": 0.5}},
            "per_layer is for",
        ),
        ({"structure": "layers", "target_macs": 0.5, "criterion": "l2"}, "takes no criterion"),
        ({"structure": "channels", "target_macs": 0.5, "depthwise": True}, "unstructured pruning"),
        ({"structure": "channels", "target_macs": 0.5, "power": 2.0}, "along a schedule"),
    ]:
        with pytest.raises(InputError, match=said):
            prune(network(), **options)


@given(st.floats(1e-3, 1e6))
def test_latencies_are_read_with_and_without_unit(number: float) -> None:
    assert latency_ms(str(parse_latency(f"{number}ms"))) == pytest.approx(number, rel=1e-4)
    assert latency_ms(str(parse_latency(f"{number} us"))) == pytest.approx(number / 1e3, rel=1e-4)
    plain = parse_latency(number)
    assert plain == number if number <= 1 else latency_ms(str(plain)) == pytest.approx(number, 1e-4)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_stairs_keep_the_widest_width_of_each_step(times: list[float]) -> None:
    widths = tuple(range(len(times), 0, -1))
    kept = stairs(widths, times)
    at = dict(zip(widths, times, strict=True))
    assert kept[0] == widths[0]
    assert all(at[a] > at[b] for a, b in itertools.pairwise(kept))
    for width in set(widths) - set(kept):
        # What was left out saves next to nothing beside a wider width that stayed.
        assert any(k > width and at[k] <= at[width] * 1.02 for k in kept)


def test_of_a_sloping_stair_only_the_ends_stay() -> None:
    # Outputs sixteen at a time, inputs of the next layer one by one.
    widths = (64, 56, 48, 40, 32, 24, 16)
    times = [-(-w // 16) * 16 + w for w in widths]
    assert without_bumps(widths, times) == (64, 48, 32, 16)
    assert without_bumps(widths, [w**0.8 for w in widths]) == widths
    assert without_bumps(widths[:2], times[:2]) == widths[:2]


def test_a_flat_stair_gives_its_widest_width() -> None:
    assert stairs((64, 56, 48, 40, 32, 24), (4.0, 4.0, 3.0, 3.01, 2.0, 1.99)) == (64, 48, 32)


@given(st.integers(1, 2000), st.sampled_from([1, 4, 8, 16]))
def test_an_axis_is_measured_at_few_widths_up_to_its_full_one(size: int, round_to: int) -> None:
    widths = widths_measured(size, round_to)
    assert widths[-1] == size
    assert len(widths) <= 9
    assert all(a < b for a, b in itertools.pairwise(widths))


def test_the_estimate_of_the_arena_rises_with_the_units() -> None:
    channels = find_channels(network())
    estimate = live_bytes(channels)
    alive = channels.all_alive()
    last = estimate(alive)
    # Where "back" runs: what it reads, what it makes and the skip, all of 144 places.
    assert last == 4 * 144 * (64 + 32 + 32)
    for unit in np.random.default_rng(0).permutation(channels.count)[:40]:
        alive[unit] = False
        assert estimate(alive) <= last
        last = estimate(alive)


def test_nothing_is_measured_that_is_not_asked_for() -> None:
    channels = find_channels(network())
    assert budget_for(channels, spec(target_macs=0.5), Pretended()).metering is None
    assert model_cost(channels.model).macs > 0
