"""Targets that are shares of classes: learned as such, decided by the largest one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import sklearn.metrics as sk

from edgepress.compress.data import open_data
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype("float32")


def dense(size, activation=None):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(size, activation, name="out")(inputs))


def task_of(model, targets, **choices):
    return open_data(DataSpec(spec={"x": X, "y": targets}, **choices), model).task


def test_shares_of_classes_are_soft_labels():
    shares = RANDOM.dirichlet(np.ones(3), 60).astype("float32")
    softmax, bare = dense(3, "softmax"), dense(3)
    task = task_of(softmax, shares)
    assert task.text() == "classification (categorical_crossentropy)"
    assert task.metric == "accuracy"
    assert "compared with the largest one" in " ".join(task.remarks)
    outputs = RANDOM.dirichlet(np.ones(3), 60)
    truth, chosen = shares.argmax(-1), outputs.argmax(-1)
    for metric, value in {
        "accuracy": sk.accuracy_score(truth, chosen),
        "f1": sk.f1_score(truth, chosen, average="macro"),
        "auc": sk.roc_auc_score(truth, outputs, multi_class="ovr"),
        "mae": np.abs(outputs - shares).mean(),
    }.items():
        found = task_of(softmax, shares, metric=metric).score(outputs, shares)
        assert found == pytest.approx(value, abs=1e-7), metric
    assert task_of(softmax, shares, loss="kl_divergence").metric == "accuracy"
    assert task_of(softmax, shares, loss="mse").loss == "mse"
    compiled = dense(3, "softmax")
    compiled.compile("sgd", "kl_divergence")
    assert task_of(compiled, shares).text() == "classification (kl_divergence)"
    asked = task_of(bare, shares)
    assert asked.kind == "regression"
    assert "if it gives logits, pass --loss" in " ".join(asked.remarks)
    assert task_of(bare, shares, loss="categorical_crossentropy").logits == (True,)
    assert task_of(dense(3, "sigmoid"), shares).kind == "regression"


def test_shares_that_are_nearly_level_name_no_class():
    """Rounding alone would change which share leads, so they are values."""
    level = (1 / 3 + RANDOM.uniform(-0.05, 0.05, (60, 3))).astype("float32")
    level /= level.sum(-1, keepdims=True)
    task = task_of(dense(3, "softmax"), level)
    assert task.kind == "regression"
    assert "--loss categorical_crossentropy" in " ".join(task.remarks)
    asked = task_of(dense(3, "softmax"), level, loss="categorical_crossentropy")
    assert asked.metric == "accuracy"
