from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress import compress
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.models import fingerprint
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training import fit
from edgepress.compress.training.curves import draw_curves

QUICK = {"epochs": 3, "batch_size": 16, "lr": 1e-2}


@pytest.fixture
def model(networks: Any) -> Any:
    return networks.seeded(networks.classifier)


@pytest.fixture
def data(networks: Any) -> Any:
    return networks.classes()


class Recorder(keras.callbacks.Callback):
    """Notes the learning rate of each step, and keeps a count that can be resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []
        self.count = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate.numpy()))
        self.count += 1

    def state(self) -> dict[str, Any]:
        return {"count": np.asarray(self.count)}

    def restore(self, state: Any) -> None:
        self.count = int(state["count"])


class StopAt(keras.callbacks.Callback):
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Lines:
    """Keeps what a training says of its progress."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int, str]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def step(self, done: int, total: int, text: str = "") -> None:
        self.steps.append((done, total, text))


@dataclass(frozen=True)
class Plain:
    """A training of three epochs that nothing stops, and what was seen of it."""

    result: compress.FinetuneResult
    recorder: Recorder
    lines: Lines


@pytest.fixture(scope="module")
def plain(networks: Any) -> Plain:
    model, recorder, lines = networks.seeded(networks.classifier), Recorder(), Lines()
    options = {"callbacks": [recorder], "progress": lines, **QUICK}
    return Plain(compress.finetune(model, networks.classes(), **options), recorder, lines)


def test_the_seeds_encoder_decoder(networks: Any) -> None:
    model = networks.seeded(networks.encoder_decoder)
    before = networks.arrays_of(model)
    result = compress.finetune(
        model,
        networks.noisy_images(),
        unfreeze=["decoder_conv6", "decoder_conv7"],
        epochs=14,
        batch_size=32,
        optimizer="sgd",
        lr=1e-3,
        momentum=0.9,
        schedule="plateau",
        lr_factor=0.5,
        lr_patience=5,
        min_lr=1e-6,
    )
    chosen = {f"decoder_conv{i}/{w}" for i in (6, 7) for w in ("kernel", "bias")}
    assert networks.changed(before, networks.arrays_of(result.model)) == chosen
    assert not networks.changed(before, networks.arrays_of(model))
    document = result.to_json()
    assert document["unfrozen"] == ["decoder_conv6", "decoder_conv7"]
    assert (document["metric"], document["split"]) == ("mae", "val")
    assert document["after"] < document["before"]
    assert {"loss", "mae", "val_loss", "val_mae", "lr"} <= document["history"].keys()
    assert document["history"]["lr"][0] == pytest.approx(1e-3)
    assert all(v.trainable for v in result.model.weights if "moving" not in v.path)


@pytest.mark.parametrize("follow", [False, True])
def test_batch_norm_in_frozen_parts(networks: Any, model: Any, data: Any, follow: bool) -> None:
    before = networks.arrays_of(model)
    result = compress.finetune(model, data, unfreeze="head", train_batchnorm=follow, **QUICK)
    statistics = {f"{bn}/moving_{s}" for bn in ("bn1", "bn2") for s in ("mean", "variance")}
    expected = {"head/kernel", "head/bias"} | (statistics if follow else set())
    assert networks.changed(before, networks.arrays_of(result.model)) == expected


def test_nothing_unfrozen_is_nothing_trained(networks: Any, model: Any, data: Any) -> None:
    result = compress.finetune(model, data, unfreeze="none", **QUICK)
    assert not networks.changed(networks.arrays_of(model), networks.arrays_of(result.model))
    assert result.unfrozen == ()
    assert result.to_json()["notes"]


def test_learns_and_repeats_bit_for_bit(model: Any, data: Any) -> None:
    first, second, other = (
        compress.finetune(model, data, seed=s, **{**QUICK, "epochs": 6}) for s in (1, 1, 2)
    )
    assert first.history.after > max(0.6, first.history.before)
    assert fingerprint(first.model) == fingerprint(second.model) != fingerprint(other.model)
    assert first.history.epochs["loss"] == second.history.epochs["loss"]


def test_equals_plain_keras(networks: Any, data: Any) -> None:
    """One epoch of plain gradient descent, step by step as Keras's own `fit` does it."""
    model = networks.seeded(networks.encoder_decoder)
    arrays = networks.noisy_images()
    dataset = open_data(arrays, model)
    reference = keras.models.clone_model(model)
    reference.set_weights(model.get_weights())
    reference.compile(keras.optimizers.SGD(1e-2, momentum=0.9), "mse")
    reference.fit(dataset.training_split.epoch(16, 3, 0), verbose=0)
    spec = TrainSpec(epochs=1, batch_size=16, optimizer="sgd", lr=1e-2)
    fit(model, dataset, spec, seed=3)
    for a, b in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_the_best_epoch_is_kept(model: Any, data: Any) -> None:
    rates = {**QUICK, "epochs": 5, "schedule": "piecewise", "lr": 0.02, "lr_points": "3=3.0"}
    result = compress.finetune(model, data, optimizer="sgd", **rates)
    column = result.history.epochs["val_accuracy"]
    losses = result.history.epochs["val_loss"]
    best = max(range(5), key=lambda i: (column[i], -losses[i]))
    assert result.history.best_epoch == best + 1
    assert result.history.after == pytest.approx(column[best], abs=1e-6)


def test_early_stopping(model: Any, data: Any) -> None:
    options = {**QUICK, "epochs": 40, "lr": 1e-9, "min_lr": 0.0, "early_stopping": 2}
    result = compress.finetune(model, data, unfreeze="head", optimizer="sgd", **options)
    trained = len(result.history.epochs["loss"])
    assert trained < 40
    assert result.history.stopped_early
    assert result.history.best_epoch == trained - 2


def test_rates_reach_the_optimizer(model: Any, data: Any) -> None:
    recorder = Recorder()
    options = {**QUICK, "epochs": 2, "warmup": 1.0}
    result = compress.finetune(model, data, callbacks=[recorder], **options)
    steps = len(recorder.rates) // 2
    expected = [1e-2 * (i + 1) / steps for i in range(steps)] + [1e-2] * steps
    np.testing.assert_allclose(recorder.rates, expected, rtol=1e-5)
    assert getattr(result.model, "optimizer", None) is None


def test_ctrl_c_keeps_the_checkpoint_and_resumes(
    model: Any, data: Any, tmp_path: Path, plain: Plain
) -> None:
    straight, whole, resumed = plain.result, plain.recorder, Recorder()
    steps = whole.count // 3
    callbacks = [Recorder(), StopAt(steps + 2)]
    with pytest.raises(Stopped, match="stopped") as stop:
        compress.finetune(model, data, state_dir=tmp_path, callbacks=callbacks, **QUICK)
    assert str(tmp_path) in stop.value.hint
    result = compress.finetune(model, data, state_dir=tmp_path, callbacks=[resumed], **QUICK)
    assert fingerprint(result.model) == fingerprint(straight.model)
    assert len(resumed.rates) == 2 * steps
    assert resumed.count == whole.count
    with pytest.raises(InputError, match="another training"):
        compress.finetune(model, data, state_dir=tmp_path, **{**QUICK, "lr": 0.5})


def test_a_nan_in_the_first_epoch_is_refused_with_advice(model: Any, data: Any) -> None:
    trained, before = model, fingerprint(model)
    with pytest.raises(InputError, match=r"epoch 1, step \d+ at the learning rate") as error:
        fit(
            trained,
            open_data(data, model),
            TrainSpec(epochs=2, optimizer="sgd", lr=1e30, batch_size=16),
        )
    assert "1e+29" in error.value.hint
    assert fingerprint(trained) == before


def test_a_nan_later_keeps_the_last_good_weights(model: Any, data: Any) -> None:
    options = {**QUICK, "schedule": "piecewise", "lr_points": "1=1e30", "optimizer": "sgd"}
    result = compress.finetune(model, data, **options)
    good = compress.finetune(model, data, **{**QUICK, "epochs": 1, "optimizer": "sgd"})
    assert "epoch 2" in result.history.diverged
    assert result.history.best_epoch == 1
    assert fingerprint(result.model) == fingerprint(good.model)


class Unsettled(keras.callbacks.Callback):
    """A callback that is done changing the model from the last epoch on."""

    settled = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.settled = epoch >= 2


def test_epochs_of_an_unsettled_model_cannot_be_the_best(model: Any, data: Any) -> None:
    result = compress.finetune(model, data, callbacks=[Unsettled()], **QUICK)
    assert result.history.best_epoch == 3


def test_a_student_approaches_its_teacher(networks: Any, model: Any, data: Any) -> None:
    teacher = compress.finetune(model, data, **{**QUICK, "epochs": 8}).model
    student = networks.classifier()
    options = {**QUICK, "epochs": 4, "distill_weight": 1.0}
    result = compress.finetune(student, data, teacher=teacher, **options)

    def distance(other: Any) -> float:
        x = data["x"]
        return float(np.abs(other.predict(x, verbose=0) - teacher.predict(x, verbose=0)).mean())

    assert distance(result.model) < 0.7 * distance(student)
    assert result.history.epochs["loss"][-1] < result.history.epochs["loss"][0]


def test_progress_says_what_is_left(plain: Plain) -> None:
    lines = plain.lines
    assert any("3 epochs" in s for s in lines.stages)
    done, total, text = lines.steps[-1]
    assert done == total
    assert text.startswith("epoch 3/3, loss ")
    assert "0:00 left" in text


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"epoch": 3}, "epoch"),
        ({"lr": -1}, "lr"),
        ({"optimizer": "adm"}, "adam"),
        ({"schedule": "cosin"}, "cosine"),
        ({"unfreeze": "haed"}, "head"),
        ({"warmup": 12.0}, "warmup"),
    ],
)
def test_bad_options_are_one_line(model: Any, data: Any, options: Any, part: str) -> None:
    with pytest.raises(InputError) as error:
        compress.finetune(model, data, **options)
    assert part in error.value.format_message()
    assert "\n" not in error.value.format_message()


def test_curves_are_a_picture(plain: Plain, tmp_path: Path) -> None:
    history = plain.result.history
    for columns in (history.epochs, {}):
        path = draw_curves(columns, tmp_path / "curves.png")
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_a_training_that_made_it_worse_says_so_in_pruning_too(networks: Any) -> None:
    model = networks.seeded(networks.classifier)
    good = compress.finetune(model, networks.classes(), epochs=8, lr=1e-2).model
    options: dict[str, Any] = {"recover_epochs": 1, "recover_lr": 3.0, "distill": False}
    for structure in ("weights", "channels", "clusters"):
        target = {} if structure == "clusters" else {"sparsity": 0.2}
        pruned = compress.prune(good, networks.classes(), structure=structure, **target, **options)
        assert any("made the model worse" in note for note in pruned.notes)
