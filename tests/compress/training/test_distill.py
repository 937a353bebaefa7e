from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.data import Task
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.errors import InputError
from edgepress.compress.training.teacher.distillation import check_teacher, distillation_loss

CLASSES = "sparse_categorical_crossentropy"


def task(loss: str, logits: bool, kind: Any = "classification") -> Task:
    return Task((OutputTask("out", kind, loss, "accuracy", logits),))


def arrays(seed: int, shape: tuple[int, ...]) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return tuple(random.normal(scale=3.0, size=shape).astype("float32") for _ in range(2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 10), st.sampled_from([(5, 4), (2, 3, 6)]))
def test_softened_divergence(seed: int, temperature: float, shape: tuple[int, ...]) -> None:
    student, teacher = arrays(seed, shape)
    found = distillation_loss(task(CLASSES, True), [student], [teacher], temperature)
    p = tf.nn.softmax(teacher / temperature).numpy().astype("float64")
    q = tf.nn.softmax(student / temperature).numpy().astype("float64")
    expected = temperature**2 * (p * np.log(p / q)).sum(-1).mean()
    np.testing.assert_allclose(float(found), expected, rtol=2e-3, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 10))
def test_probabilities_and_logits_agree(seed: int, temperature: float) -> None:
    student, teacher = arrays(seed, (6, 5))
    for loss, squash in ((CLASSES, tf.nn.softmax), ("binary_crossentropy", tf.sigmoid)):
        raw = distillation_loss(task(loss, True), [student], [teacher], temperature)
        outputs = [[squash(v)] for v in (student, teacher)]
        squashed = distillation_loss(task(loss, False), *outputs, temperature)
        np.testing.assert_allclose(float(squashed), float(raw), rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("loss", [CLASSES, "binary_crossentropy", "mse"])
def test_nothing_is_lost_against_oneself_and_all_else_is(loss: str) -> None:
    student, teacher = arrays(0, (6, 5))
    same = float(distillation_loss(task(loss, True), [teacher], [teacher], 2.0))
    other = float(distillation_loss(task(loss, True), [student], [teacher], 2.0))
    assert same == pytest.approx(0, abs=1e-5)
    assert other > 0.1


def test_images_are_matched_by_their_squared_error() -> None:
    student, teacher = arrays(0, (2, 4, 4, 1))
    for loss in ("mse", "binary_crossentropy"):
        found = distillation_loss(task(loss, False, "image-to-image"), [student], [teacher], 4.0)
        np.testing.assert_allclose(float(found), np.square(student - teacher).mean(), rtol=1e-5)


def test_certain_teachers_give_finite_gradients() -> None:
    certain = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    for loss in (CLASSES, "binary_crossentropy"):
        with tf.GradientTape() as tape:
            tape.watch(certain)
            value = distillation_loss(task(loss, False), [certain], [certain[::-1]], 1.0)
        assert np.isfinite(float(value))
        assert np.isfinite(tape.gradient(value, certain)).all()


def test_a_teacher_of_another_shape_is_refused() -> None:
    def dense(units: int) -> Any:
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])

    check_teacher(dense(2), dense(2))
    with pytest.raises(InputError, match="teacher's outputs"):
        check_teacher(dense(3), dense(2))
