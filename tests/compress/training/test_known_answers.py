"""A teacher that is asked once teaches as one that is asked in every step."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from variants import mostly_slow

from edgepress.compress.data import open_data
from edgepress.compress.data.augmentation.augmenting import Augmentation
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training import fit, training_run
from edgepress.compress.training.known_answers import TaughtSplit, with_known_answers
from edgepress.compress.training.loop.steps import Objective

RANDOM = np.random.default_rng(0)
L = keras.layers


def network(classes: int = 3, last: str | None = "softmax", seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = keras.Input((6, 6, 1))
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3, use_bias=False)(x)))
    y = L.Dropout(0.2)(L.GlobalAveragePooling2D()(y))
    return keras.Model(x, L.Dense(classes, activation=last, name="out")(y))


def data(model: keras.Model, target: str = "classes", **options: Any) -> Any:
    x = RANDOM.normal(size=(50, 6, 6, 1)).astype("float32")
    y: Any = np.arange(50) % 3
    if target == "values":
        y = RANDOM.normal(size=(50, 3)).astype("float32")
    if target == "pairs":
        y = RANDOM.integers(0, 2, (50, 3)).astype("float32")
    return open_data({"train": (x, y), "val": (x[:16], y[:16]), **options}, model)


@pytest.mark.parametrize(
    ("target", "last"),
    mostly_slow(
        [("classes", "softmax"), ("classes", None), ("pairs", "sigmoid"), ("values", None)],
        ("classes", "softmax"),
        ("values", None),
    ),
)
def test_weights_are_those_of_a_teacher_that_is_asked_in_every_step(
    target: str, last: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, start = network(last=last, seed=1), network(last=last, seed=2)
    dataset, spec = data(start, target), TrainSpec(epochs=3, batch_size=16, lr=0.01)
    found = []
    for ask_once in (True, False):
        if not ask_once:
            monkeypatch.setattr(training_run, "with_known_answers", lambda *given: given)
        model = keras.models.clone_model(start)
        model.set_weights(start.get_weights())
        history = fit(model, dataset, spec, teacher=teacher)
        found.append((model.get_weights(), history.epochs["loss"]))
    for once, each in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(once, each, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)


def test_answers_follow_the_order_of_each_epoch() -> None:
    model, teacher = network(), network(seed=1)
    dataset = data(model)
    spec = TrainSpec(epochs=2, batch_size=16)
    taught, objective = with_known_answers(dataset, Objective(dataset.task, spec, teacher))
    assert objective.known
    for epoch, skipped in ((0, 0), (1, 2)):
        for inputs, (_, (answers,)) in taught.train.epoch(16, 0, epoch, skip_batches=skipped):
            chances = keras.ops.softmax(answers)
            np.testing.assert_allclose(chances, teacher(inputs, training=False), atol=1e-6)


@pytest.mark.parametrize("reason", ["one epoch", "no teacher", "augmented", "large"])
def test_a_teacher_is_asked_again_where_answers_change_or_do_not_pay(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    dataset = data(model)
    if reason == "augmented":
        moved = dataclasses.replace(dataset.train, augmentation=Augmentation((("flip", 1.0),), "x"))
        dataset = dataclasses.replace(dataset, train=moved)
    monkeypatch.setattr(
        "edgepress.compress.training.known_answers._MOST_BYTES",
        1 if reason == "large" else 2**20,
    )
    spec = TrainSpec(epochs=1 if reason == "one epoch" else 2)
    teacher = None if reason == "no teacher" else network(seed=1)
    same, objective = with_known_answers(dataset, Objective(dataset.task, spec, teacher))
    assert same is dataset
    assert not objective.known
    assert not isinstance(same.train, TaughtSplit)
