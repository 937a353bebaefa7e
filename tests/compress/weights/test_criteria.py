"""What every criterion for single weights promises, those to come too."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgepress.compress import prune
from edgepress.compress.weights.allocation.criteria import WEIGHT_CRITERIA


@pytest.mark.parametrize("name", WEIGHT_CRITERIA)
def test_scores_have_the_shape_of_the_weights_and_zeros_are_least(name: str) -> None:
    planes = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    planes[0, 1] = 0
    scores = WEIGHT_CRITERIA[name](planes)
    assert scores.shape == planes.shape
    assert np.isfinite(scores).all()
    assert scores[planes == 0].max() < scores[planes != 0].min()
    np.testing.assert_array_equal(scores, WEIGHT_CRITERIA[name](planes))


@pytest.mark.parametrize("name", WEIGHT_CRITERIA)
def test_pruning_takes_the_weights_of_the_lowest_scores(name: str) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(16, name="only")])
    before = model.get_layer("only").kernel.numpy()
    small = prune(model, structure="weights", sparsity=0.5, criterion=name).model
    after = small.get_layer("only").kernel.numpy()
    gone = after == 0
    scores = WEIGHT_CRITERIA[name](before[None])[0]
    assert gone.mean() == pytest.approx(0.5)
    assert scores[gone].max() <= scores[~gone].min()
    np.testing.assert_array_equal(after[~gone], before[~gone])
