"""A floor is shown, not shown or missed, and says how many samples it would take."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.benchmarks.gate.outcomes import Outcomes
from edgepress.deploy.fitting.floor import KEPT, MISSED, UNSHOWN, floor, words_of


def outcomes(right: np.ndarray, metric: str = "accuracy", rising: bool = True) -> Outcomes:
    return Outcomes(metric, rising, right.astype(float), samples_hash="the same")


def decisions(samples: int, lost: int, won: int) -> tuple[Outcomes, Outcomes]:
    before = np.ones(samples)
    before[:won] = 0
    after = np.ones(samples)
    after[won : won + lost] = 0
    return outcomes(before), outcomes(after)


@pytest.mark.parametrize(
    ("samples", "lost", "won", "verdict"),
    [
        (10_000, 0, 0, KEPT),
        (10_000, 60, 20, KEPT),
        (400, 3, 1, UNSHOWN),
        (10_000, 150, 20, MISSED),
        (400, 6, 1, MISSED),
    ],
)
def test_the_verdict_is_never_better_than_its_samples(
    samples: int, lost: int, won: int, verdict: str
) -> None:
    found = floor(*decisions(samples, lost, won), 0.01, "test")
    assert found.verdict == verdict
    assert found.drop == pytest.approx((lost - won) / samples)
    assert found.interval is not None
    assert found.interval[0] <= found.drop <= found.interval[1]
    assert (found.needed is not None) == (verdict == UNSHOWN)
    assert verdict in words_of(found, 0.01)


def test_as_many_samples_as_are_asked_for_show_the_floor() -> None:
    found = floor(*decisions(400, 3, 1), 0.01, "test")
    assert found.needed is not None
    assert found.needed > 400
    times = -(-found.needed // 400)
    assert floor(*decisions(400 * times, 3 * times, times), 0.01, "test").verdict == KEPT


def test_an_error_may_grow_by_a_share_of_itself() -> None:
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.5, 1.5, 2000)
    before = outcomes(errors, "mse", rising=False)
    assert floor(before, outcomes(errors * 1.005, "mse", False), 0.01).verdict == KEPT
    assert floor(before, outcomes(errors * 1.02, "mse", False), 0.01).verdict == MISSED


def test_other_samples_give_no_interval() -> None:
    before, after = decisions(100, 0, 0)
    found = floor(before, Outcomes("accuracy", True, after.parts, samples_hash="others"), 0.01)
    assert found.interval is None
    assert found.verdict == UNSHOWN


@pytest.mark.parametrize(("after", "verdict"), [(-0.2, MISSED), (-0.989, KEPT)])
def test_an_error_below_zero_falls_as_it_rises(after: float, verdict: str) -> None:
    one, other = (outcomes(np.full(500, v), "loss", rising=False) for v in (-0.99, after))
    assert floor(one, other, 0.05, "test").verdict == verdict
