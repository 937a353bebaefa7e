from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress import compress
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import FinetuneSpec
from edgepress.compress.training.loop.steps import Objective
from edgepress.compress.training.lr_range import draw_range, lr_find, measure_range, smooth


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0.01, 10))
def test_smoothing_stays_between_the_extremes(losses: list[float], width: float) -> None:
    found = smooth(np.asarray(losses), width)
    slack = 1e-6 * max(1.0, max(map(abs, losses)))
    assert min(losses) - slack <= found.min()
    assert found.max() <= max(losses) + slack


@pytest.fixture(scope="module")
def model(networks: Any) -> Any:
    return networks.seeded(networks.classifier)


@pytest.fixture(scope="module")
def found(networks: Any, model: Any) -> Any:
    return lr_find(model, networks.classes(), steps=60, highest=1e4, optimizer="sgd", batch_size=16)


def test_range_and_suggestion(found: Any, tmp_path: Path) -> None:
    assert found.diverged
    ratios = np.diff(np.log(found.rates))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    assert found.rates[0] == pytest.approx(1e-7)
    assert found.minimum == found.rates[int(np.argmin(found.smoothed))]
    assert found.rates[0] <= found.suggestion <= found.minimum / 3 * (1 + 1e-9)
    assert found.suggestion == min(found.steepest, found.minimum / 3)
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert draw_range(found, tmp_path / "range.png").stat().st_size > 1000


def test_the_suggestion_trains(networks: Any, model: Any, found: Any) -> None:
    options = {"epochs": 4, "batch_size": 16, "optimizer": "sgd"}
    good, slow = (
        compress.finetune(model, networks.classes(), lr=lr, **options)
        for lr in (found.suggestion, found.suggestion / 1000)
    )
    assert good.history.epochs["loss"][-1] < slow.history.epochs["loss"][-1]


def test_weights_are_restored_to_the_bit(networks: Any) -> None:
    owned = networks.classifier()
    before = [v.numpy().tobytes() for v in owned.variables]
    spec = FinetuneSpec(batch_size=16)
    data = open_data(networks.classes(), owned)
    measure_range(owned, data, Objective(data.task, spec), 1e-6, 1.0, 20)
    assert [v.numpy().tobytes() for v in owned.weights] == [
        b
        for b, v in zip(before, owned.variables, strict=True)
        if any(v is w for w in owned.weights)
    ]


@pytest.mark.parametrize("options", [{"lowest": 1.0, "highest": 0.1}, {"steps": 3}])
def test_impossible_ranges(networks: Any, model: Any, options: Any) -> None:
    with pytest.raises(InputError):
        lr_find(model, networks.classes(), **options)


@pytest.mark.slow
def test_a_model_that_knows_its_data_gets_a_rate_that_does_no_harm(
    model: Any, networks: Any
) -> None:
    """Its loss can't fall, so the steepest descent is noise; what counts is where it rises."""
    good = compress.finetune(model, networks.classes(), epochs=10, lr=1e-2).model
    found = lr_find(good, networks.classes(), optimizer="sgd", batch_size=16)
    assert 1e-5 < found.suggestion < 1
    after = compress.finetune(
        good, networks.classes(), optimizer="sgd", lr="auto", batch_size=16, epochs=2
    )
    assert after.history.after >= after.history.before
