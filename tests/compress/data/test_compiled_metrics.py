"""The metrics that a model was compiled with are taken where they mean the same here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import metrics as km

from edgepress.compress import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.models import load
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
CLASSES = np.arange(40) % 7
YES = (np.arange(40) % 2)[:, None]
LABELS = RANDOM.integers(0, 2, (40, 3))
LABELS[0] = [1, 1, 0]
VALUES = RANDOM.normal(size=(40, 2)).astype("float32")
INPUT = keras.Input((4,))


def network(size: int, activation: str | None, loss: str, **compiled: Any) -> keras.Model:
    made = keras.layers.Dense(size, activation=activation, name="out")(INPUT)
    model = keras.Model(INPUT, made)
    model.compile(loss=loss, **compiled)
    return model


def task_of(model: keras.Model, y: Any, **options: Any) -> Any:
    given = {"train": (X, y), "test": (X, y)}
    return open_data(DataSpec(spec=given, **options), model)


SPARSE, BINARY = "sparse_categorical_crossentropy", "binary_crossentropy"


@pytest.mark.parametrize(
    ("y", "output", "compiled", "expected"),
    [
        (CLASSES, (7, "softmax", SPARSE), [km.SparseTopKCategoricalAccuracy(2)], "top2_accuracy"),
        (CLASSES, (7, "softmax", SPARSE), ["sparse_top_k_categorical_accuracy"], "top5_accuracy"),
        (CLASSES % 3, (3, "softmax", SPARSE), ["sparse_top_k_categorical_accuracy"], "accuracy"),
        (CLASSES, (7, "softmax", SPARSE), ["accuracy"], "accuracy"),
        (CLASSES, (7, "softmax", SPARSE), [km.Precision()], "accuracy"),
        (YES, (1, "sigmoid", BINARY), [km.AUC()], "auc"),
        (YES, (1, "sigmoid", BINARY), ["AUC", "accuracy"], "auc"),
        (YES, (1, "sigmoid", BINARY), [km.AUC(curve="PR")], "average_precision"),
        (YES, (1, "sigmoid", BINARY), [km.BinaryAccuracy(threshold=0.3)], "accuracy"),
        (YES, (1, "sigmoid", BINARY), [km.Recall(), km.Precision()], "recall"),
        (LABELS, (3, "sigmoid", BINARY), [km.Recall()], "recall_micro"),
        (LABELS, (3, "sigmoid", BINARY), [km.Recall(class_id=1)], "recall:1"),
        (LABELS, (3, "sigmoid", BINARY), [km.F1Score("macro", 0.5)], "f1_macro"),
        (VALUES, (2, None, "mse"), ["mse"], "mse"),
        (VALUES, (2, None, "mse"), [km.R2Score(), "mae"], "r2"),
        (VALUES, (2, None, "mse"), [km.RootMeanSquaredError()], "rmse"),
        (VALUES, (2, None, "mse"), ["cosine_similarity"], "mae"),
    ],
)
def test_the_first_metric_that_means_the_same_is_taken(y, output, compiled, expected, tmp_path):
    model = network(*output, metrics=compiled)
    assert task_of(model, y).task.metric == expected
    model.save(tmp_path / "m.keras")
    assert task_of(load(tmp_path / "m.keras"), y).task.metric == expected


def test_what_is_not_taken_is_named():
    compiled = {"metrics": ["mse", "mae", "cosine_similarity"], "weighted_metrics": ["mae"]}
    data = task_of(network(2, None, "mse", **compiled), VALUES)
    told = next(w for w in data.warnings if "not taken" in w)
    assert "cosine_similarity" in told
    assert "weighted mae" in told
    assert "its metric is mse" in told
    assert not [w for w in task_of(network(2, None, "mse"), VALUES).warnings if "not taken" in w]


def test_what_is_asked_for_goes_before():
    model = network(2, None, "mse", metrics=["mse"])
    data = task_of(model, VALUES, metric="rmse")
    assert data.task.metric == "rmse"
    assert not any("not taken" in w for w in data.warnings)


@pytest.mark.parametrize("form", ["mapping", "lists"])
def test_each_output_has_its_own(form, tmp_path: Path):
    kind = keras.layers.Dense(1, activation="sigmoid", name="kind")(INPUT)
    size = keras.layers.Dense(2, name="size")(INPUT)
    model = keras.Model(INPUT, [kind, size])
    given = {"kind": [km.AUC(), "accuracy"], "size": ["mse"]}
    metrics = given if form == "mapping" else list(given.values())
    losses = {"kind": BINARY, "size": "mse"}
    model.compile(loss=losses, metrics=metrics, loss_weights={"kind": 1.0, "size": 0.25})
    model.save(tmp_path / "m.keras")
    for one in (model, load(tmp_path / "m.keras")):
        task = task_of(one, {"kind": YES, "size": VALUES}).task
        assert [o.metric for o in task.outputs] == ["auc", "mse"]
        assert [o.weight for o in task.outputs] == [1.0, 0.25]


def test_a_top_k_of_all_classes_is_refused():
    model = network(3, "softmax", SPARSE)
    for name in ("top-3", "top5_accuracy"):
        with pytest.raises(InputError, match="is always 1 of the 3 classes"):
            task_of(model, CLASSES % 3, metric=name)
    assert task_of(model, CLASSES % 3, metric="top-2").task.metric == "top2_accuracy"
