"""Scores on data are measured once for all runs that have a folder in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.compress import open_data
from edgepress.compress.kernel.context import Context
from edgepress.compress.pruning import prune_as
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.importance import gradients


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(16, activation="relu")(inputs)
    x = keras.layers.Dense(12, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def test_scores_are_taken_from_another_run_and_only_where_all_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    model = network()
    arrays = {"x": rng.normal(size=(120, 6)).astype(np.float32), "y": rng.integers(0, 3, 120)}
    data = open_data(arrays, model)
    measured = []
    real = gradients.unit_effects

    def counted(*given: Any) -> Any:
        measured.append(1)
        return real(*given)

    monkeypatch.setattr(gradients, "unit_effects", counted)

    def pruned(share: float, seed: int = 0, shared: Path | None = tmp_path) -> list[Any]:
        spec = PruneSpec(structure="channels", target_macs=share, criterion="taylor", repair=False)
        found = prune_as(spec, model, data, Context(seed, shared=shared))
        return [w.tolist() for w in found.model.get_weights()]

    alone = pruned(0.6, shared=None)
    assert pruned(0.6) == alone
    assert len(measured) == 2
    assert pruned(0.6) == alone
    assert pruned(0.4) == pruned(0.4, shared=None)
    assert len(measured) == 3
    pruned(0.6, seed=1)
    assert len(measured) == 4
    for file in tmp_path.glob("scores-*.npz"):
        file.write_bytes(b"half")
    assert pruned(0.6) == alone
    assert len(measured) == 5
