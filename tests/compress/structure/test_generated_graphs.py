"""Exactness over graphs drawn at random, all rules mixed."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest
from drawn_graphs import graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruned_twins import cut, inputs_for, masked, outputs_of, randomise, relative_gap

from edgepress.compress.cost import model_cost
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
THOROUGH = settings(QUICK, max_examples=400, derandomize=False)


@pytest.fixture(scope="module", autouse=True)
def double_precision() -> Iterator[None]:
    """A normalisation over two channels that are left may divide by next to nothing."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def _check(model: keras.Model, share: float, seed: int) -> None:
    randomise(model, seed)
    channels = find_channels(model)
    alive = cut(channels, share, seed)
    small = remove(channels, alive).model
    inputs = inputs_for(model, seed)
    expected = outputs_of(masked(channels, alive), inputs)
    assert relative_gap(expected, outputs_of(small, inputs)) < 1e-4
    assert model_cost(small).macs == Budget(channels).macs(alive)
    for group in channels.groups:
        assert alive[group.units].any()


SHARES = st.sampled_from([0.25, 0.5, 0.8])


@QUICK
@given(model=graphs(), share=SHARES, seed=st.integers(0, 99))
def test_any_graph_prunes_exactly(model: keras.Model, share: float, seed: int) -> None:
    _check(model, share, seed)


@pytest.mark.slow
@THOROUGH
@given(model=graphs(), share=SHARES, seed=st.integers(0, 999))
def test_hundreds_of_graphs_prune_exactly(model: keras.Model, share: float, seed: int) -> None:
    _check(model, share, seed)
