"""What files of other people's code hold beside what Keras writes today."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgepress.compress.models import load, save

tf_keras = pytest.importorskip("tf_keras")
L = tf_keras.layers
X = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
Layers = list[dict[str, Any]]


def _network() -> Any:
    tf_keras.backend.clear_session()
    inner = tf_keras.Sequential(
        [L.Dense(3, input_shape=(6, 4), name="one"), L.Dense(3, name="two")], name="inner"
    )
    layers = [inner, L.BatchNormalization(name="norm"), L.LSTM(4, name="lstm"), L.Dense(2)]
    model = tf_keras.Sequential([tf_keras.Input((6, 4)), *layers])
    model.compile("adam", "mse")
    return model


def _edited(folder: Path, edit: Callable[[Any], None]) -> tuple[Any, Path]:
    model = _network()
    model.save(folder / "model.h5")
    with h5py.File(folder / "model.h5", "r+") as file:
        edit(file)
    return model, folder / "model.h5"


def _reconfigured(change: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)

    return edit


def _without_versions(file: Any) -> None:
    for holder in (file, file["model_weights"]):
        for name in ("keras_version", "backend"):
            del holder.attrs[name]


def _as_lists(config: dict[str, Any]) -> None:
    """Keras up to 2.2.2: a Sequential's configuration is its layers, without names of models."""
    layers = [spec for spec in config["config"]["layers"] if spec["class_name"] != "InputLayer"]
    inner = layers[0]["config"]["layers"]
    layers[0]["config"] = [spec for spec in inner if spec["class_name"] != "InputLayer"]
    layers[0]["config"][0]["config"]["batch_input_shape"] = [None, 6, 4]
    config["config"] = layers


def _set(class_name: str, **settings: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for spec in config["config"]["layers"]:
            if spec["class_name"] == class_name:
                spec["config"].update(settings)

    return change


def _called(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for spec in config["config"]["layers"]:
            spec["class_name"] = spec["class_name"].replace(old, new)

    return change


def _training(text: str) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        file.attrs["training_config"] = text

    return edit


EDITS: dict[str, Callable[[Any], None]] = {
    "no_versions": _without_versions,
    "bytes": lambda file: file.attrs.__setitem__(
        "model_config", np.bytes_(file.attrs["model_config"])
    ),
    "lists": _reconfigured(_as_lists),
    "list_wrapper": _reconfigured(
        _set("BatchNormalization", axis={"class_name": "ListWrapper", "items": [2]})
    ),
    "policy_of_1_15": _reconfigured(
        _set("Dense", dtype={"class_name": "Policy", "config": {"name": "infer_float32_vars"}})
    ),
    "unified_lstm": _reconfigured(_called("LSTM", "UnifiedLSTM")),
    "training_damaged": _training("{"),
    "training_empty": _training("[]"),
    "training_unknown": _training('{"optimizer_config": {"class_name": "Own"}, "loss": "own"}'),
    "shapes_everywhere": _reconfigured(_set("LSTM", batch_input_shape=[None, 9, 9])),
}


@pytest.mark.parametrize("name", EDITS)
def test_odd_files_load(name: str, tmp_path: Path) -> None:
    model, path = _edited(tmp_path, EDITS[name])
    np.testing.assert_allclose(
        np.asarray(load(path)(X)), np.asarray(model(X)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("shapes", [((8, 7, 2), (6, 6, 2)), ((9, 2), (4, 2))])
def test_a_model_inside_that_is_called_on_another_shape(
    tmp_path: Path, shapes: tuple[Any, Any], graph: bool
) -> None:
    """Keras 2 builds and loads that, Keras 3 does not."""
    built, called = shapes
    layers = [L.Dense(4, activation="relu"), L.BatchNormalization(), L.Dense(3)]
    inner = tf_keras.Sequential([tf_keras.Input(built), *layers])
    start, last = tf_keras.Input(called), L.Dense(2)
    if graph:
        model = tf_keras.Model(start, last(inner(start)))
    else:
        model = tf_keras.Sequential([start, inner, last])
    model.save(tmp_path / "model.h5")
    x = np.random.default_rng(0).normal(size=(3, *called)).astype("float32")
    carried = load(save(load(tmp_path / "model.h5"), tmp_path / "again.keras"))
    wanted = x
    for layer in (*layers, last):
        wanted = layer(wanted)
    np.testing.assert_allclose(np.asarray(carried(x)), np.asarray(wanted), rtol=1e-5, atol=1e-6)


def test_names_that_keras_3_refuses(tmp_path: Path) -> None:
    """Blanks and accents are no names in graphs, and two names may become one."""

    def rename(file: Any) -> None:
        text = file.attrs["model_config"]
        weights = file["model_weights"]
        names = [str(name) for name in weights.attrs["layer_names"]]
        for old, new in (("norm", "Straße 1"), ("lstm", "Strafe/1"), ("dense", "Strafe_1")):
            text = text.replace(f'"{old}"', json.dumps(new))
            weights.move(old, f"held_{old}")
            names[names.index(old)] = f"held_{old}"
        file.attrs["model_config"] = text.replace('"sequential"', '"My net (2)"')
        weights.attrs["layer_names"] = [name.encode() for name in names]

    model, path = _edited(tmp_path, rename)
    carried = load(path)
    carried.compile("sgd", "mse")
    np.testing.assert_allclose(
        carried.predict(X, verbose=0), np.asarray(model(X)), rtol=1e-5, atol=1e-6
    )
