"""A model that was scored on a split isn't run on it again; any other is."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgepress.compress.data import evaluation, figures, open_data
from edgepress.compress.data.dataset import Dataset
from edgepress.compress.models.rebuilding.copying import copy_model

layers = keras.layers


def own(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.relu(x)


def network(activation: object = "relu") -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((6,), name="x")
    y = layers.Dense(3, name="out")(layers.Dense(8, activation=activation, name="first")(x))
    return keras.Model(x, layers.Softmax(name="end")(y))


@pytest.fixture
def opened(tmp_path: Path) -> Dataset:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 6)).astype(np.float32), random.integers(0, 3, 40)
    return open_data({"test": (x, y), "train": (x, y)}, network())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    predict = evaluation.predict

    def counted(*given: object) -> object:
        made.append("one")
        return predict(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "predict", counted)
    return made


def test_the_same_model_is_scored_once_though_it_was_copied_saved_or_loaded(
    opened: Dataset, passes: list[str], tmp_path: Path
) -> None:
    model = network()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    rows = [
        figures(m, opened.report_split, opened.task)
        for m in (model, model, copy_model(model), again)
    ]
    assert len(passes) == 1
    assert all(row == rows[0] for row in rows)


def test_changed_weights_settings_batches_and_splits_are_scored_again(
    opened: Dataset, passes: list[str]
) -> None:
    model = network()
    first = figures(model, opened.report_split, opened.task)
    figures(network("tanh"), opened.report_split, opened.task)
    figures(model, opened.report_split, opened.task, 7)
    assert opened.train is not None
    figures(model, opened.train, opened.task)
    model.get_layer("out").kernel.assign(-model.get_layer("out").kernel)
    assert figures(model, opened.report_split, opened.task) != first
    assert len(passes) == 5


def test_code_of_the_users_own_is_run_every_time(opened: Dataset, passes: list[str]) -> None:
    for model in (network(own), network(own)):
        figures(model, opened.report_split, opened.task)
        figures(model, opened.report_split, opened.task)
    assert len(passes) == 4
