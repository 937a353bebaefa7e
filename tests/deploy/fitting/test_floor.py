"""A floor is shown, not shown or missed, and says how many samples it would take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from edgepress.benchmarks.gate.outcomes import Outcomes, Resampled
from edgepress.benchmarks.records.fit import FitRecord
from edgepress.compress.errors import CheckFailed
from edgepress.deploy.fitting.floor import KEPT, MISSED, UNSHOWN, floor, words_of
from edgepress.deploy.fitting.outcome import FitResult, check_fit


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


@pytest.mark.parametrize(("samples", "verdict"), [(8, UNSHOWN), (300, UNSHOWN), (400, KEPT)])
def test_samples_of_which_none_changed_bound_how_many_would(samples: int, verdict: str) -> None:
    """Of n decisions that stayed, 3.84 / (n + 3.84) may change still, by the score interval."""
    found = floor(*decisions(samples, 0, 0), 0.01, "test")
    assert found.verdict == verdict
    assert found.interval is not None
    assert found.interval[1] == pytest.approx(3.8415 / (samples + 3.8415), rel=1e-3)
    assert (found.needed or samples) == pytest.approx(max(samples, 381), abs=1)


def test_a_score_that_no_draw_changes_gives_no_interval() -> None:
    """As F1 or AUC, of which only draws are kept."""
    draws = np.random.default_rng(0).uniform(0.8, 0.9, 200)
    same = Resampled("f1", True, 0.85, draws, 40, samples_hash="the same")
    found = floor(same, same, 0.01, "test")
    assert (found.interval, found.verdict) == (None, UNSHOWN)


@pytest.mark.parametrize("samples", [7, 20, 2000])
def test_few_errors_give_a_wider_interval(samples: int) -> None:
    """At least as wide as Student's, which the percentiles of few samples are not."""
    rng = np.random.default_rng(1)
    errors = rng.uniform(0.5, 1.5, samples)
    changes = rng.normal(0, 0.01, samples)
    found = floor(outcomes(errors, "mae", False), outcomes(errors + changes, "mae", False), 1.0)
    assert found.interval is not None
    low, high = found.interval
    spread = float(np.std(changes, ddof=1)) / np.sqrt(samples) / float(errors.mean())
    assert (high - low) / 2 >= 0.85 * spread * float(t.ppf(0.975, samples - 1))


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


def test_a_fit_of_which_nothing_was_measured_fails(tmp_path: Path) -> None:
    failed = {"device": "board", "artifact": "", "reason": "it is not there"}
    pick = {
        "names": ["safest"],
        "trial": 0,
        "words": "",
        "file": "f",
        "recipe": "r",
        "quantize": "",
    }
    record = FitRecord.model_validate(
        {"picks": [pick], "split": "test", "benchmark": {"failures": [failed]}}
    )
    with pytest.raises(CheckFailed, match="could not be held against the floor") as raised:
        check_fit(FitResult(tmp_path, record))
    assert "not there" in raised.value.format_message()
