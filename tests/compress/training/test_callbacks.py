"""Keras callbacks work as in `fit`: they set the rate, watch figures, stop, and are resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from variants import mostly_slow

from edgepress import compress
from edgepress.compress.errors import InputError, Stopped

callbacks = keras.callbacks
QUICK = {"epochs": 3, "batch_size": 24, "unfreeze": "head"}


@pytest.fixture(scope="module")
def model(networks: Any) -> Any:
    return networks.seeded(networks.classifier)


@pytest.fixture(scope="module")
def data(networks: Any) -> Any:
    found = networks.classes()
    x, y = found["x"], found["y"]
    return {"x_train": x[:72], "y_train": y[:72], "x_val": x[72:], "y_val": y[72:]}


class Rates(callbacks.Callback):
    """Keeps the rate of every step, and what it was given."""

    def __init__(self, left: int = 10_000) -> None:
        super().__init__()
        self.rates: list[float] = []
        self.seen: list[set[str]] = []
        self.left = left

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        assert model.optimizer is not None

    def on_train_begin(self, logs: Any = None) -> None:
        assert self.params["epochs"] == 3
        assert self.params["steps"] == 3

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.rates.append(float(np.asarray(self.model.optimizer.learning_rate)))
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(set(logs))


class Setting(callbacks.Callback):
    """Assigns a falling rate at one of the places where a callback is called."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self.turn = 0

    def state(self) -> Any:
        return {"turn": np.asarray(self.turn)}

    def restore(self, state: Any) -> None:
        self.turn = int(state["turn"])

    def _set(self, place: str) -> None:
        if place == self.place:
            self.turn += 1
            self.model.optimizer.learning_rate = 1e-3 / self.turn

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._set("on_epoch_begin")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._set("on_epoch_end")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._set("on_train_batch_begin")


def _halving() -> Any:
    return callbacks.ReduceLROnPlateau(monitor="val_loss", min_delta=10, patience=1, factor=0.5)


FALLING = {
    "scheduler": (
        lambda: callbacks.LearningRateScheduler(lambda e, lr: 1e-3 * 0.1**e),
        [1e-3] * 3 + [1e-4] * 3 + [1e-5] * 3,
    ),
    "relative": (
        lambda: callbacks.LearningRateScheduler(lambda e, lr: lr * 0.5),
        [5e-4] * 3 + [2.5e-4] * 3 + [1.25e-4] * 3,
    ),
    "plateau": (_halving, [1e-3] * 6 + [5e-4] * 3),
    "epoch begin": (
        lambda: Setting("on_epoch_begin"),
        [1e-3] * 3 + [1e-3 / 2] * 3 + [1e-3 / 3] * 3,
    ),
    "epoch end": (lambda: Setting("on_epoch_end"), [1e-3] * 6 + [1e-3 / 2] * 3),
    "batch begin": (lambda: Setting("on_train_batch_begin"), [1e-3 / i for i in range(1, 10)]),
}


@pytest.mark.parametrize("name", mostly_slow(FALLING, "plateau"))
def test_a_rate_that_a_callback_sets_holds_over_a_resume(
    name: str, model: Any, data: Any, tmp_path: Path
) -> None:
    make, expected = FALLING[name]
    straight, before, after = Rates(), Rates(left=7), Rates()
    whole = compress.finetune(model, data, callbacks=[make(), straight], **QUICK)
    np.testing.assert_allclose(straight.rates, expected, rtol=1e-5)
    with pytest.raises(Stopped):
        compress.finetune(model, data, callbacks=[make(), before], state_dir=tmp_path, **QUICK)
    resumed = compress.finetune(model, data, callbacks=[make(), after], state_dir=tmp_path, **QUICK)
    np.testing.assert_allclose(after.rates, expected[6:], rtol=1e-5)
    assert resumed.history.epochs["lr"] == whole.history.epochs["lr"]
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options", [{"schedule": "cosine"}, {"schedule": "plateau"}, {"warmup": 1.0}]
)
def test_two_that_set_the_rate_are_refused(options: Any, model: Any, data: Any) -> None:
    scheduler = callbacks.LearningRateScheduler(lambda e, lr: 1e-3)
    with pytest.raises(InputError, match=f"LearningRateScheduler .* {next(iter(options))}"):
        compress.finetune(model, data, callbacks=[scheduler], **QUICK, **options)


def test_an_own_callback_against_a_schedule_is_refused_when_it_acts(model: Any, data: Any) -> None:
    with pytest.raises(InputError, match=r"Setting sets the learning rate.* schedule cosine"):
        compress.finetune(
            model, data, callbacks=[Setting("on_epoch_begin")], schedule="cosine", **QUICK
        )


@pytest.mark.parametrize("compiled", [True, False])
def test_figures_have_keras_s_names_and_directions(
    compiled: bool, model: Any, data: Any, tmp_path: Path
) -> None:
    watching = {"monitor": "val_accuracy", "mode": "auto"}
    path = tmp_path / "best.keras"
    if compiled:
        model = keras.models.clone_model(model)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    plateau = callbacks.ReduceLROnPlateau(patience=1, min_delta=2, factor=0.5, **watching)
    checkpoint = callbacks.ModelCheckpoint(path, save_best_only=True, **watching)
    rates = Rates()
    result = compress.finetune(model, data, callbacks=[plateau, checkpoint, rates], **QUICK)
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= rates.seen[0]
    assert "learning_rate" not in result.history.epochs
    assert float(checkpoint.best) == max(result.history.epochs["val_accuracy"])
    assert rates.rates[-1] == pytest.approx(5e-4)
    norms = [
        layer.momentum
        for layer in keras.models.load_model(path)._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms == [0.99, 0.99]
    assert plateau.mode == "auto"


def test_early_stopping_watches_accuracy_rise(model: Any, data: Any) -> None:
    stop = callbacks.EarlyStopping(monitor="val_accuracy", patience=1, min_delta=2)
    result = compress.finetune(model, data, callbacks=[stop], **{**QUICK, "epochs": 6})
    assert len(result.history.epochs["loss"]) == 2
    assert result.history.stopped_early


def test_a_figure_that_is_not_measured_is_named(model: Any, data: Any) -> None:
    stop = callbacks.EarlyStopping(monitor="val_f1")
    with pytest.raises(InputError, match="EarlyStopping watches 'val_f1'") as error:
        compress.finetune(model, data, callbacks=[stop], **QUICK)
    assert "val_accuracy" in error.value.hint


def test_stopping_in_an_epoch_ends_it_there(model: Any, data: Any) -> None:
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    rates = Rates()
    result = compress.finetune(model, data, callbacks=[Stop(), rates], **QUICK)
    assert len(rates.rates) == 1
    assert len(result.history.epochs["val_loss"]) == 1
