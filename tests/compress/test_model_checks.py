"""Each check of the doctor finds what it is for, and nothing in a healthy model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress.doctor.findings import Finding, Severity
from edgepress.compress.doctor.model_checks import MODEL_CHECKS


def _healthy() -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    model.get_layer("norm").moving_mean.assign(np.full(6, 0.1))
    return model


def _spoilt(spoil: Callable[[Any], Any]) -> Callable[[], Any]:
    def build() -> Any:
        model = _healthy()
        spoil(model)
        return model

    return build


def _stacked(*stack: Any, shape: tuple[int | None, ...] = (8, 8, 3)) -> Callable[[], Any]:
    return lambda: keras.Sequential([keras.Input(shape), *stack])


class OwnLayer(layers.Layer):
    """A class that Keras doesn't have."""

    def call(self, x: Any) -> Any:
        return 2 * x


# For each check, models in which it must find something.
FOUND_IN: dict[str, list[Callable[[], Any]]] = {
    "not_finite": [_spoilt(lambda m: m.get_layer("head").bias.assign([0, np.inf, 0, np.nan]))],
    "idle_channels": [
        _spoilt(lambda m: m.get_layer("conv").kernel.assign(np.zeros((3, 3, 3, 6)))),
        _spoilt(lambda m: m.get_layer("head").kernel.assign(np.eye(6, 4, k=1))),
    ],
    "norms": [
        _spoilt(lambda m: m.get_layer("norm").moving_mean.assign(np.zeros(6))),
        _stacked(layers.BatchNormalization(), layers.BatchNormalization()),
    ],
    "open_sizes": [_stacked(layers.Conv2D(2, 3), shape=(None, None, 3))],
    "user_code": [_stacked(layers.Lambda(lambda x: x)), _stacked(OwnLayer())],
    "training_only": [_stacked(layers.RandomFlip(), layers.Conv2D(2, 3))],
    "precision": [_stacked(layers.Conv2D(2, 3, dtype="mixed_float16"))],
    "pinned": [_healthy, _stacked(layers.Conv2D(2, 3))],
    "frozen": [_spoilt(lambda m: setattr(m, "trainable", False))],
}


def test_every_check_has_its_models() -> None:
    assert [check.__name__ for check in MODEL_CHECKS] == [*FOUND_IN]


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
def test_a_check_finds_what_it_is_for(check: Callable[[Any], Any]) -> None:
    for build in FOUND_IN[check.__name__]:
        model = build()
        found = list(check(model))
        assert found
        for finding in found:
            assert isinstance(finding, Finding)
            assert finding.severity in get_args(Severity)
            assert finding.message
            assert "\n" not in finding.message + finding.hint
            assert not finding.where or finding.where in finding.message


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
def test_a_check_leaves_a_healthy_model_alone(check: Callable[[Any], Any]) -> None:
    assert {finding.severity for finding in check(_healthy())} <= {"note"}
