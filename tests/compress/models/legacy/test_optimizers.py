"""Training goes on after loading as it would have gone on in tf_keras."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from edgepress.compress.models import load_noted, restore_compilation

L = tf_keras.layers
NEW, OLD = tf_keras.optimizers, tf_keras.optimizers.legacy
SLOW = pytest.mark.slow
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(8, 5, 3)).astype("float32")
Y = RANDOM.normal(size=(8, 2)).astype("float32")


def _model() -> Any:
    """A nested model, frozen and unfrozen layers, equal shapes, weights that don't train."""
    inner = tf_keras.Sequential(
        [L.Conv1D(4, 3, padding="same", input_shape=(5, 3)), L.BatchNormalization(), L.Dense(4)]
    )
    frozen = L.Dense(4, activation="tanh")
    inputs = tf_keras.Input((5, 3))
    x = frozen(inner(inputs))
    a, b = L.LSTM(4)(x), L.GRU(4)(x)
    x = L.Dense(4, activation="relu")(L.Add()([a, b]))
    model = tf_keras.Model(inputs, L.Dense(2)(L.Dense(4)(x)))
    frozen.trainable = False
    return model


def _trained(optimizer: Any, path: Path, make: Callable[[], Any] = _model) -> Any:
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(1)
    model = make()
    model.compile(optimizer, "mse", run_eagerly=True)
    for _ in range(3):
        model.train_on_batch(X, Y)
    model.save(path)
    return model


def _goes_on_alike(path: Path, old: Any) -> Any:
    """One more step on both sides moves every weight alike, and moves it at all."""
    loaded = load_noted(path)
    model, optimizer = loaded.model, loaded.optimizer
    assert optimizer is not None, loaded.notes
    assert getattr(model, "optimizer", None) is None
    before = {w.path: w.numpy() for w in model.trainable_variables}
    model.compile(optimizer, "mse", run_eagerly=True)
    model.train_on_batch(X, Y)
    old.train_on_batch(X, Y)
    after = path.with_name("after.h5")
    old.save(after)
    wanted = load_noted(after).model
    for found, other in zip(model.weights, wanted.weights, strict=True):
        np.testing.assert_allclose(found.numpy(), other.numpy(), rtol=2e-5, atol=2e-6)
    assert any(np.abs(w.numpy() - before[w.path]).max() > 1e-4 for w in model.trainable_variables)
    assert int(optimizer.iterations) == 4
    return loaded


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(lambda: NEW.SGD(0.05, momentum=0.9), id="sgd", marks=SLOW),
        pytest.param(lambda: NEW.Adam(0.01), id="adam"),
        pytest.param(lambda: NEW.RMSprop(0.01), id="rmsprop", marks=SLOW),
        pytest.param(lambda: OLD.SGD(0.05, momentum=0.9, nesterov=True), id="sgd-2.10", marks=SLOW),
        pytest.param(lambda: OLD.Adam(0.01, amsgrad=True, decay=0.1), id="adam-2.10"),
        pytest.param(
            lambda: OLD.RMSprop(0.01, momentum=0.5, centered=True), id="rmsprop-2.10", marks=SLOW
        ),
    ],
)
def test_a_further_step_equals_that_of_tf_keras(optimizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    old = _trained(optimizer(), path)
    notes = _goes_on_alike(path, old).notes
    assert any("is carried (3 steps" in note for note in notes)


@pytest.mark.parametrize(
    ("optimizer", "form"),
    [
        pytest.param(lambda: NEW.Adam(0.01, amsgrad=True), "model.keras", id="archive-amsgrad"),
        pytest.param(
            lambda: NEW.RMSprop(0.01, centered=True, momentum=0.9),
            "model.keras",
            id="archive-rms",
            marks=SLOW,
        ),
        pytest.param(
            lambda: NEW.SGD(0.05, momentum=0.9), "model.keras", id="archive-sgd", marks=SLOW
        ),
        pytest.param(lambda: "adam", "model.keras", id="archive-named"),
        pytest.param(lambda: NEW.Adam(0.01), "model", id="folder-adam", marks=SLOW),
        pytest.param(lambda: OLD.Adam(0.01), "model", id="folder-adam-2.10", marks=SLOW),
        pytest.param(
            lambda: OLD.SGD(0.05, momentum=0.9), "model", id="folder-sgd-2.10", marks=SLOW
        ),
    ],
)
def test_other_formats(optimizer: Any, form: str, tmp_path: Path) -> None:
    path = tmp_path / form
    notes = _goes_on_alike(path, _trained(optimizer(), path)).notes
    assert any("is carried (3 steps" in note for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(lambda: NEW.Adam(0.01, amsgrad=True, clipnorm=0.5), id="amsgrad"),
        pytest.param(lambda: NEW.AdamW(0.01, weight_decay=0.1), id="adamw"),
        pytest.param(lambda: NEW.Adamax(0.01), id="adamax"),
        pytest.param(lambda: NEW.Adadelta(1.0), id="adadelta"),
        pytest.param(lambda: NEW.Adagrad(0.05), id="adagrad"),
        pytest.param(lambda: NEW.Lion(0.01), id="lion"),
        pytest.param(lambda: NEW.RMSprop(0.01, centered=True, momentum=0.9), id="centered"),
        pytest.param(
            lambda: NEW.SGD(tf_keras.optimizers.schedules.CosineDecay(0.1, 10), momentum=0.9),
            id="schedule",
        ),
        pytest.param(lambda: OLD.Adamax(0.01), id="adamax-2.10"),
        pytest.param(lambda: OLD.Adadelta(1.0), id="adadelta-2.10"),
        pytest.param(lambda: OLD.Adagrad(0.05), id="adagrad-2.10"),
        pytest.param(lambda: OLD.Adam(0.01, global_clipnorm=0.1), id="clipped-2.10"),
        pytest.param(lambda: NEW.SGD(0.05), id="bare"),
    ],
)
def test_further_optimizers(optimizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    _goes_on_alike(path, _trained(optimizer(), path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AdamW", "Adamax", "Adadelta", "Adagrad", "Lion"])
def test_further_optimizers_in_archives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    rate = 1.0 if name == "Adadelta" else 0.05
    _goes_on_alike(path, _trained(getattr(NEW, name)(rate), path))


def _renamed(path: Path, stand_ins: bool) -> None:
    """The optimizer's arrays under the names of Keras 2.0 to 2.2, which tell nothing."""
    with h5py.File(path, "r+") as file:
        old = file["optimizer_weights"]
        arrays = [np.asarray(old[name]) for name in old.attrs["weight_names"]]
        if stand_ins:
            arrays += [np.zeros(1, "float32")] * ((len(arrays) - 1) // 2)
        del file["optimizer_weights"]
        group = file.create_group("optimizer_weights")
        names = ["iterations_1:0", *(f"Variable_{60 + i}:0" for i in range(len(arrays) - 1))]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, array in zip(names, arrays, strict=True):
            group[name] = array
        text = file.attrs["training_config"].replace('"learning_rate"', '"lr"')
        file.attrs["training_config"] = text
        file.attrs["keras_version"] = "2.1.6"


@pytest.mark.parametrize("stand_ins", [False, True])
def test_arrays_without_telling_names_are_taken_in_order(stand_ins: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    old = _trained(OLD.Adam(0.01), path)
    _renamed(path, stand_ins)
    _goes_on_alike(path, old)


def _in_alphabet(path: Path) -> None:
    """The arrays as Keras 2.0 kept them: sorted by the weights' names."""
    with h5py.File(path, "r+") as file:
        group = file["optimizer_weights"]
        steps, *names = [str(n) for n in group.attrs["weight_names"]]
        half = len(names) // 2
        kept = [steps, *sorted(names[:half]), *sorted(names[half:])]
        group.attrs["weight_names"] = [name.encode() for name in kept]


def test_arrays_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    old = _trained(OLD.Adam(0.01), path, _two_layers)
    _in_alphabet(path)
    _renamed(path, stand_ins=False)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "2.0.5"
        file["model_weights"].attrs["keras_version"] = "2.0.5"
    _goes_on_alike(path, old)


def _edit(path: Path, old: str, new: str) -> None:
    with h5py.File(path, "r+") as file:
        assert old in file.attrs["training_config"]
        file.attrs["training_config"] = file.attrs["training_config"].replace(old, new)


def _small() -> Any:
    return tf_keras.Sequential([L.Flatten(input_shape=(5, 3)), L.Dense(2)])


@pytest.mark.parametrize(
    ("optimizer", "says"),
    [
        (lambda: NEW.Nadam(), "Nadam is left behind"),
        (lambda: NEW.SGD(use_ema=True), "moving averages"),
        (lambda: OLD.RMSprop(0.01), "epsilon under the root"),
    ],
)
def test_what_differs_is_told(optimizer: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    _trained(optimizer(), path, _small)
    loaded = load_noted(path)
    assert any(says in note for note in loaded.notes)
    assert (loaded.optimizer is None) == ("epsilon" not in says)


def test_an_unknown_schedule_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    _trained(NEW.SGD(schedule), path, _small)
    _edit(path, '"ExponentialDecay"', '"OwnDecay"')
    loaded = load_noted(path)
    assert loaded.optimizer is None
    assert any("OwnDecay" in note for note in loaded.notes)


def _two_layers() -> Any:
    return tf_keras.Sequential(
        [L.Flatten(input_shape=(5, 3)), L.Dense(2, name="first"), L.Dense(2, name="second")]
    )


def test_a_layer_frozen_since_the_last_step(tmp_path: Path) -> None:
    """Named arrays tell what belongs to the layer that still trains; others are refused."""
    path = tmp_path / "model.h5"
    model = _trained(OLD.Adam(), path, _two_layers)
    model.layers[1].trainable = False
    model.save(path)
    optimizer = load_noted(path).optimizer
    wanted = [w.numpy() for w in model.optimizer.weights if "second" in w.name]
    moments = [*optimizer._momentums, *optimizer._velocities]
    for found, array in zip(moments, wanted, strict=True):
        np.testing.assert_array_equal(found.numpy(), array)
    _renamed(path, stand_ins=False)
    loaded = load_noted(path)
    assert loaded.optimizer is None
    assert any("Adam is left behind" in note for note in loaded.notes)
    model.trainable = False
    model.save(path)
    assert any("frozen" in note for note in load_noted(path).notes)


def test_a_folded_kernel_leaves_the_state_behind(tmp_path: Path) -> None:
    """The state of gain and direction isn't the state of the kernel they are folded into."""
    path = tmp_path / "model.h5"
    _trained(OLD.Adam(), path, _two_layers)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        dense = config["config"]["layers"][2]
        name = dense["config"]["name"]
        wrapper = {"name": name, "trainable": True, "layer": dense, "data_init": False}
        config["config"]["layers"][2] = {"class_name": "WeightNormalization", "config": wrapper}
        file.attrs["model_config"] = json.dumps(config)
        group = file["model_weights"][name]
        names = [f"{name}/{leaf}:0" for leaf in ("g", "kernel", "bias")]
        arrays = [np.ones(2, "float32"), np.ones((15, 2), "float32"), np.ones(2, "float32")]
        for key, array in zip(names, arrays, strict=True):
            if key in group:
                del group[key]
            group[key] = array
        group.attrs["weight_names"] = [key.encode() for key in names]
    loaded = load_noted(path)
    assert loaded.optimizer is None
    assert any("changed shape" in note for note in loaded.notes)


def test_published_files_keep_their_state(shared_data: Path) -> None:
    folder = shared_data / "models"
    for name in ("keras3_ok/big_xception_emotion.hdf5", "tf_keras_only/conv1d_bn_spectrum.h5"):
        optimizer = load_noted(folder / name).optimizer
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert int(optimizer.iterations) > 100
        assert all(velocity.numpy().min() >= 0 for velocity in optimizer._velocities)
        assert all(np.abs(moment.numpy()).max() > 0 for moment in optimizer._momentums)


def test_a_file_saved_before_training_says_so(tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    model = _small()
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    loaded = load_noted(tmp_path / "model.keras")
    assert loaded.optimizer is None
    assert any("only the number of steps was saved" in note for note in loaded.notes)


def _network() -> Any:
    return tf_keras.Sequential(
        [L.Conv1D(8, 3, input_shape=(5, 3)), L.ReLU(), L.Flatten(), L.Dense(2)]
    )


@pytest.mark.parametrize("form", ["model.h5", "model.keras", "model"])
def test_a_loaded_model_takes_the_optimizer_of_its_file(form: str, tmp_path: Path) -> None:
    _trained(NEW.Adam(0.01), tmp_path / form, _network)
    loaded = load_noted(tmp_path / form)
    assert restore_compilation(loaded, tmp_path / form) == ""
    assert loaded.model.compiled
    assert int(loaded.model.optimizer.iterations) == 3
    loaded.model.compile(loaded.model.optimizer, "mse")
    loaded.model.fit(X, Y, verbose=0)
    assert int(loaded.model.optimizer.iterations) == 4


def test_pruning_goes_on_from_the_state_of_an_old_file(tmp_path: Path) -> None:
    from edgepress.compress import prune

    _trained(NEW.Adam(0.01), tmp_path / "model.h5", _network)
    data = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
    small = prune(
        tmp_path / "model.h5", data, structure="channels", target_macs=0.5, recover_epochs=1
    ).model
    assert int(small.optimizer.iterations) == 3 + 1
    moments = [m.shape for m in small.optimizer._momentums]
    assert moments == [w.shape for w in small.trainable_variables]
