import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgepress.compress.weights.rigl import exchange


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.floats(0, 1), st.floats(0, 1))
def test_an_exchange_keeps_the_number_of_living_weights(seed, size, density, share):
    random = np.random.default_rng(seed)
    keep = random.random(size) < density
    weights, gradients = random.normal(size=size) * keep, random.normal(size=size)
    renewed = exchange(keep, weights, gradients, share)
    assert renewed.sum() == keep.sum()
    assert (keep & ~renewed).sum() <= round(share * keep.sum())


def test_the_weakest_goes_and_the_strongest_gradient_comes():
    keep = np.array([True, True, False, False])
    weights = np.array([0.1, 3.0, 0.0, 0.0])
    renewed = exchange(keep, weights, np.array([0.0, 0.0, 1.0, -2.0]), 0.5)
    assert renewed.tolist() == [False, True, False, True]


def test_a_weight_of_strong_gradient_survives_its_weakness():
    keep = np.array([True, True, False])
    renewed = exchange(keep, np.array([0.1, 3.0, 0.0]), np.array([9.0, 0.0, 1.0]), 0.5)
    assert renewed.tolist() == [True, True, False]
