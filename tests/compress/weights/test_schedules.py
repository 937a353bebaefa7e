import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.weights.schedules import SCHEDULES, Ramp, rounds, turns


@st.composite
def ramps(draw):
    begin = draw(st.integers(0, 50))
    return Ramp(
        final=draw(st.floats(0.1, 0.95)),
        initial=draw(st.floats(0, 0.1)),
        begin=begin,
        end=begin + draw(st.integers(1, 80)),
        frequency=draw(st.integers(1, 30)),
        power=draw(st.sampled_from([1.0, 2.0, 3.0, 5.0])),
    )


def tfmot_schedule(name, ramp):
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity, PolynomialDecay

    if name == "constant":
        return ConstantSparsity(ramp.final, ramp.begin, ramp.end, ramp.frequency)
    return PolynomialDecay(
        ramp.initial, ramp.final, ramp.begin, ramp.end, ramp.power, ramp.frequency
    )


@settings(max_examples=10, deadline=None)
@given(ramps(), st.sampled_from(sorted(SCHEDULES)))
def test_numbers_are_those_of_tfmot_at_every_step(ramp, name):
    steps = np.arange(0, 140, 7)
    changes, sparsities = SCHEDULES[name](steps, ramp)
    schedule = tfmot_schedule(name, ramp)
    for step, change, sparsity in zip(steps, changes, sparsities, strict=True):
        theirs = schedule(tf.constant(int(step), tf.int64))
        assert bool(theirs[0]) == change
        assert float(theirs[1]) == pytest.approx(sparsity, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(ramps(), st.sampled_from(sorted(SCHEDULES)), st.integers(52, 300))
def test_turns_rise_and_end_exactly(ramp, name, total):
    found = turns(name, ramp, total)
    assert list(found) == sorted(found)
    assert list(found.values()) == sorted(found.values())
    last = min(ramp.end, total - 1)
    assert max(found) == last
    assert found[last] == ramp.final
    assert min(found) == ramp.begin


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_each_round_removes_the_same_share_of_what_is_left(final, count):
    kept = 1 - np.array([0.0, *rounds(final, count)])
    assert kept[-1] == pytest.approx(1 - final)
    np.testing.assert_allclose(kept[1:] / kept[:-1], (1 - final) ** (1 / count))
