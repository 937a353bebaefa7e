"""A lost per cent or luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from edgepress.benchmarks.gate.outcomes import Outcomes, SampleHashes
from edgepress.benchmarks.gate.significance import paired, unpaired


def decisions(right: Any) -> Outcomes:
    return Outcomes("accuracy", True, np.asarray(right, float), samples_hash="x")


def errors(values: Any) -> Outcomes:
    return Outcomes("mae", False, np.asarray(values, float), samples_hash="x")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 50))
def test_the_paired_test_of_decisions_is_the_binomial_one(lost: int, won: int, rest: int) -> None:
    before = [1] * lost + [0] * won + [1] * (rest + 1)
    after = [0] * lost + [1] * won + [1] * (rest + 1)
    found = paired(decisions(before), decisions(after))
    tail = 2 * binom.cdf(min(lost, won), lost + won, 0.5) if lost + won else 1.0
    assert found.p_value == pytest.approx(min(1.0, tail))
    assert f"{lost} were lost and {won} won" in found.words
    assert found.significant == (found.p_value < 0.05)


def test_the_same_samples_show_what_different_ones_can_not() -> None:
    rng = np.random.default_rng(0)
    before = rng.gamma(2.0, 1.0, 500)
    after = before * 1.02
    assert paired(errors(before), errors(after)).significant
    old, new = errors(before), errors(after)
    assert not unpaired((old.value, old), (new.value, new), "shuffled").significant


def test_false_alarms_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(60):
        base = rng.normal(1, 0.2, 80)
        a, b = (errors(base + rng.normal(0, 0.1, 80)) for _ in range(2))
        alarms += paired(a, b).significant
    assert alarms <= 9


def test_an_unpaired_interval_holds_what_newcombe_tells() -> None:
    # Newcombe (1998), table II, case a: 56/70 and 48/80, method 10.
    first, second = decisions([1] * 48 + [0] * 32), decisions([1] * 56 + [0] * 14)
    found = unpaired((first.value, first), (second.value, second), "")
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_too_few_samples_prove_nothing() -> None:
    assert not paired(errors([1, 1, 1]), errors([9, 9, 9])).significant
    assert not paired(decisions([1] * 5), decisions([0] * 5)).significant
    assert paired(decisions([1] * 6), decisions([0] * 6)).significant


@given(
    st.lists(st.floats(0, 10, width=32), min_size=1, max_size=40),
    st.sampled_from(["mean", "root", "explained", "decibels"]),
    st.booleans(),
)
def test_outcomes_come_back_as_they_were(values: list[float], kind: Any, weighted: bool) -> None:
    weights = np.arange(1.0, len(values) + 1) if weighted else None
    told = Outcomes("m", False, np.array(values), weights, kind, 100.0, "out", "abc")
    back = Outcomes.from_json(told.to_json())
    assert back is not None
    assert np.array_equal(back.parts, told.parts)
    assert (back.output, back.samples_hash, back.statistic) == ("out", "abc", kind)
    assert back.value == pytest.approx(told.value)


def test_decisions_take_a_bit_each() -> None:
    told = decisions(np.random.default_rng(0).random(8000) < 0.5).to_json()
    assert told["kind"] == "decisions"
    assert len(told["parts"]) < 1500


@pytest.mark.parametrize(
    "harm", [{"parts": "no base64"}, {"parts": "AAAA"}, {"value": 0.1}, {"samples": 3}, {"kind": 1}]
)
def test_harmed_outcomes_are_no_evidence(harm: dict[str, Any]) -> None:
    told = decisions([1, 1, 0, 1]).to_json()
    assert Outcomes.from_json(told)
    assert Outcomes.from_json({**told, **harm}) is None


def test_a_shuffled_stream_is_known_by_its_samples() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 3)), rng.integers(0, 5, 20)
    found = []
    for seed in (0, 1):
        order = np.random.default_rng(seed).permutation(20)
        hashes = SampleHashes()
        for part in np.array_split(order, 3 + seed):
            hashes.add([x[part], y[part]])
        found.append((hashes.hexdigest(), y[order][hashes.order()].tolist()))
    assert found[0] == found[1]
    other = SampleHashes()
    other.add([x, y + 1])
    assert other.hexdigest() != found[0][0]
