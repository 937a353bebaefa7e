"""Values of large kernels are counted part by part, as they are at once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgepress.compress.weights.clusters.entropy import counted_parts, entropy
from edgepress.compress.weights.masks.prunable import find_kernels

VALUES = arrays.arrays(
    np.float32,
    st.integers(0, 200),
    elements=st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, float("nan")]),
)


@given(VALUES, st.integers(1, 50))
def test_parts_count_what_all_at_once_counts(values: np.ndarray, at_once: int) -> None:
    whole = np.unique(values, return_counts=True)[1]
    parts = list(counted_parts(values, at_once))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_clustered_kernel_is_counted_in_parts() -> None:
    values = np.random.default_rng(0).choice([-1.5, 0, 0.25, 3], 10_000).astype(np.float32)
    counts = np.concatenate(list(counted_parts(values, 100)))
    assert len(counts) == 4
    assert counts.sum() == 10_000
    assert entropy(values) == pytest.approx(entropy(np.sort(values)), abs=1e-12)


def test_looking_at_weights_leaves_them() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    (kernel,), _ = find_kernels(model)
    np.testing.assert_array_equal(kernel.seen(), model.get_weights()[0])
    kernel.value()[:] = 7
    assert not np.any(model.get_weights()[0] == 7)
