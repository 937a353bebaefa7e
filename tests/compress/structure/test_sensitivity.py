"""Sensitivity tables and explanations."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgepress.compress import sensitivity
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure import explain

L = keras.layers


def _model() -> keras.Model:
    keras.utils.set_random_seed(0)
    stack = [L.Dense(16, activation="relu", name="a"), L.Dense(8, activation="relu", name="b")]
    return keras.Sequential([keras.Input((5,)), *stack, L.Dense(3, activation="softmax", name="c")])


def test_each_group_alone_at_each_ratio(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype("float32")
    y = x[:, :3].argmax(1)
    model = _model()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=20, verbose=0)
    before = [w.copy() for w in model.get_weights()]
    found = sensitivity(model, {"x": x, "y": y}, ratios=(0.5, 0.875))
    assert [(r.group, r.ratio) for r in found.rows] == [
        ("a", 0.5),
        ("a", 0.875),
        ("b", 0.5),
        ("b", 0.875),
    ]
    assert found.split == "val"
    assert all(r.drop == pytest.approx(found.before - r.value) for r in found.rows)
    assert max(r.drop for r in found.rows) > 0.05
    assert all(0 < r.macs < 1 for r in found.rows)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    found.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_an_explanation_names_scores_and_passengers() -> None:
    spec = PruneSpec(structure="channels", sparsity=0.5, allocation="uniform", criterion="l1")
    (found,) = explain(_model(), "a", spec)
    assert len(found.removed) == 8
    assert max(found.scores[i] for i in found.removed) <= min(
        s for i, s in enumerate(found.scores) if i not in found.removed
    )
    assert {(p.layer, p.weight, p.axis, p.before, p.after) for p in found.passengers} == {
        ("a", "kernel", 1, 16, 8),
        ("a", "bias", 0, 16, 8),
        ("b", "kernel", 0, 16, 8),
    }
    assert "8 are removed, those with the lowest l1 score" in "\n".join(found.lines())
    (pinned,) = explain(_model(), "c", spec)
    assert "none can be removed: 'c' ends in an activation" in "\n".join(pinned.lines())
    with pytest.raises(InputError, match="no layer 'd' makes channels"):
        explain(_model(), "d", spec)
