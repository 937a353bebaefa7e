from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.optimization.optimizers import OPTIMIZERS
from edgepress.compress.training.optimization.schedules import SCHEDULES, rate_at, schedule_of

FALLING = ("constant", "step", "exponential", "cosine", "polynomial")
NAMES = tuple(n for n in SCHEDULES if n != "piecewise")

SPECS = st.builds(
    TrainSpec,
    epochs=st.integers(1, 30),
    lr=st.floats(1e-6, 1.0),
    min_lr=st.floats(0, 1e-3),
    warmup=st.floats(0, 0.9),
    lr_factor=st.floats(0.05, 0.95),
    lr_every=st.integers(1, 12),
    lr_growth=st.floats(1, 3),
    lr_power=st.floats(0.2, 4),
    lr_patience=st.integers(0, 4),
)


def rates(spec: TrainSpec, steps: int, losses: Any = ()) -> list[float]:
    schedule = schedule_of(spec)
    return [rate_at(schedule, i, steps, spec, losses) for i in range(spec.epochs * steps)]


@pytest.mark.parametrize("name", NAMES)
@given(spec=SPECS, steps=st.integers(1, 7))
def test_bounds(name: str, spec: TrainSpec, steps: int) -> None:
    found = rates(spec.model_copy(update={"schedule": name}), steps)
    assert max(found) <= spec.lr * (1 + 1e-9)
    assert min(found[int(spec.warmup * steps) + 1 :], default=spec.lr) >= min(
        spec.min_lr, spec.lr
    ) * (1 - 1e-9)
    assert min(found) > 0 or spec.min_lr == 0


@pytest.mark.parametrize("name", FALLING)
@given(spec=SPECS, steps=st.integers(1, 7))
def test_rises_only_in_the_warm_up(name: str, spec: TrainSpec, steps: int) -> None:
    found = rates(spec.model_copy(update={"schedule": name}), steps)
    warm = spec.warmup * steps
    for i, (a, b) in enumerate(itertools.pairwise(found)):
        assert b >= a * (1 - 1e-9) if i + 1 < warm else True
        assert b <= a * (1 + 1e-9) if i >= warm else True


@pytest.fixture(scope="module")
def compiled() -> Any:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@settings(max_examples=40)
@given(spec=SPECS, losses=st.lists(st.floats(0, 5), max_size=20))
def test_plateau_is_keras_rule(compiled: Any, spec: TrainSpec, losses: list[float]) -> None:
    model = compiled
    model.optimizer.learning_rate.assign(spec.lr)
    rule = keras.callbacks.ReduceLROnPlateau(
        factor=spec.lr_factor, patience=spec.lr_patience, min_lr=min(spec.min_lr, spec.lr)
    )
    rule.set_model(model)
    rule.on_train_begin()
    for epoch, loss in enumerate(losses):
        rule.on_epoch_end(epoch, {"val_loss": loss})
    expected = float(model.optimizer.learning_rate.numpy())
    found = SCHEDULES["plateau"](float(len(losses)), spec, losses)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_known_values() -> None:
    spec = TrainSpec(epochs=10, lr=1.0, min_lr=0.0, schedule="cosine")
    assert rates(spec, 1)[5] == pytest.approx(0.5)
    step = spec.model_copy(update={"schedule": "step", "lr_every": 3, "lr_factor": 0.1})
    assert rates(step, 1)[:4] == pytest.approx([1, 1, 1, 0.1])
    restarts = spec.model_copy(
        update={"schedule": "cosine-restarts", "lr_every": 2, "lr_growth": 2.0}
    )
    assert rates(restarts, 1)[:7] == pytest.approx([1, 0.5, 1, 0.8535534, 0.5, 0.1464466, 1])
    warm = spec.model_copy(update={"schedule": "constant", "warmup": 2.0})
    assert rates(warm, 2)[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    cycle = TrainSpec(epochs=10, lr=1.0, min_lr=0.0, schedule="one-cycle")
    assert rates(cycle, 1)[0] == pytest.approx(0.04)
    assert rates(cycle, 1)[3] == pytest.approx(1.0)


def test_piecewise_is_read_from_text() -> None:
    spec = TrainSpec(epochs=4, lr=1.0, schedule="piecewise", lr_points="1=0.1,3=0.01")
    assert rates(spec, 1) == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_users_function(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def halve(epoch, lr):\n    return lr if epoch < 2 else lr / 2\n")
    spec = TrainSpec(epochs=4, lr=1.0, schedule=f"{file}:halve")
    assert rates(spec, 1) == pytest.approx([1, 1, 0.5, 0.25])
    file.write_text("def wrong(epoch, lr):\n    return -1\n")
    with pytest.raises(InputError, match="gives -1 for epoch 0"):
        rates(spec.model_copy(update={"schedule": f"{file}:wrong"}), 1)


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "cosin"},
        {"warmup": 5.0, "epochs": 5},
        {"schedule": "piecewise"},
        {"lr_points": "1=0.1"},
    ],
)
def test_impossible_settings(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        schedule_of(TrainSpec(**options))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_loss(name: str) -> None:
    optimizer = OPTIMIZERS[name](TrainSpec(lr=0.05, clipnorm=1.0))
    weight = keras.Variable([2.0, -1.0])
    optimizer.build([weight])
    for _ in range(20):
        optimizer.apply([2 * weight.value], [weight])
    assert float(np.square(weight.numpy()).sum()) < 5.0
    assert float(optimizer.learning_rate.numpy()) == pytest.approx(0.05)
