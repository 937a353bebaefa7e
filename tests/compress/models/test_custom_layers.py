"""Layers that Keras 3 lacks, against their formulas written with NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.models import load
from edgepress.compress.models.compat_layers import activations, custom, locally_connected
from edgepress.compress.models.user_code import import_file

RANDOM = np.random.default_rng(0)


def _randomized(layer: Any, x: np.ndarray) -> list[np.ndarray]:
    layer(x)
    values = [RANDOM.normal(0, 0.7, w.shape) for w in layer.get_weights()]
    layer.set_weights(values)
    return values


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_hard_sigmoid() -> None:
    x = np.linspace(-4, 4, 33)
    wanted = np.clip(0.2 * x + 0.5, 0, 1)
    np.testing.assert_allclose(np.asarray(activations.keras2_hard_sigmoid(x)), wanted, atol=1e-6)


def test_thresholded_relu() -> None:
    x = np.array([-1.0, 0.5, 0.6, 2.0])
    found = np.asarray(custom.ThresholdedReLU(0.5)(x))
    np.testing.assert_allclose(found, [0, 0, 0.6, 2.0], rtol=1e-6)


def test_parametric_softplus() -> None:
    x = RANDOM.normal(size=(3, 4))
    layer = custom.ParametricSoftplus()
    alpha, beta = _randomized(layer, x)
    np.testing.assert_allclose(np.asarray(layer(x)), alpha * np.log1p(np.exp(beta * x)), rtol=1e-4)


def test_srelu() -> None:
    x = RANDOM.normal(0, 2, size=(20, 5))
    layer = custom.SReLU()
    t_left, a_left, t_right, a_right = _randomized(layer, x)
    right = t_left + np.abs(t_right)
    wanted = np.where(
        x <= t_left,
        t_left + a_left * (x - t_left),
        np.where(x < right, x, right + a_right * (x - right)),
    )
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, rtol=1e-4, atol=1e-5)


def test_highway() -> None:
    x = RANDOM.normal(size=(3, 4))
    layer = custom.Highway(activation="tanh")
    kernel, carry, bias, carry_bias = _randomized(layer, x)
    gate = _sigmoid(x @ carry + carry_bias)
    wanted = gate * np.tanh(x @ kernel + bias) + (1 - gate) * x
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [None, -1, 1])
def test_instance_normalization_of_keras_contrib(axis: int | None) -> None:
    x = RANDOM.normal(1, 3, size=(2, 3, 5, 4))
    layer = custom.ContribInstanceNormalization(axis=axis)
    gamma, beta = _randomized(layer, x)
    kept = None if axis is None else axis % 4
    axes = tuple(a for a in (1, 2, 3) if a != kept)
    shape = [1, 1, 1, 1]
    if kept is not None:
        shape[kept] = x.shape[kept]
    normed = (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-3)
    wanted = normed * gamma.reshape(shape) + beta.reshape(shape)
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        custom.ThresholdedReLU(0.3),
        custom.SReLU(),
        custom.Highway(),
        custom.LayerScale(0.3, 4),
        custom.MaxoutDense(3),
        custom.ContribInstanceNormalization(axis=-1),
        custom.ParametricSoftplus(),
        keras.layers.Dense(2, activation=activations.keras2_hard_sigmoid),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_each_is_saved_and_loaded(layer: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), type(layer).from_config(layer.get_config())])
    model.save(tmp_path / "model.keras")
    x = RANDOM.normal(size=(3, 4))
    again = load(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(again(x)))


def test_local_layers_are_saved_and_loaded(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((6, 5, 2)), locally_connected.LocallyConnected2D(3, (2, 3))]
    )
    model.save(tmp_path / "model.keras")
    x = RANDOM.normal(size=(2, 6, 5, 2))
    again = load(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(again(x)))


def _addons_file(path: Path, class_name: str, arrays: dict[str, np.ndarray]) -> Path:
    """A Dense layer inside one of TensorFlow Addons' wrappers, as tf.keras 2.4 saved it."""
    dense = {"name": "dense", "units": 3, "activation": "linear", "use_bias": True}
    wrapper = {
        "class_name": f"Addons>{class_name}",
        "config": {
            "name": "wrapped",
            "trainable": True,
            "batch_input_shape": [None, 4],
            "dtype": "float32",
            "layer": {"class_name": "Dense", "config": dense},
        },
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.4.0"
        config = {"class_name": "Sequential", "config": {"name": "net", "layers": [wrapper]}}
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"wrapped"]
        layer = group.create_group("wrapped")
        names = [f"wrapped/{name}:0" for name in arrays]
        layer.attrs["weight_names"] = [name.encode() for name in names]
        for name, array in zip(names, arrays.values(), strict=True):
            layer[name] = array
    return path


def test_weight_normalization_is_folded(tmp_path: Path) -> None:
    v, g, bias = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3), RANDOM.normal(size=3)
    arrays = {"g": g, "kernel": v, "bias": bias, "initialized": np.array(True)}
    model = load(_addons_file(tmp_path / "a.h5", "WeightNormalization", arrays))
    x = RANDOM.normal(size=(5, 4))
    wanted = x @ (v / np.linalg.norm(v, axis=0) * g) + bias
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)


def test_spectral_normalization_keeps_its_kernel(tmp_path: Path) -> None:
    kernel, bias = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3)
    arrays = {"kernel": kernel, "bias": bias, "sn_u": RANDOM.normal(size=(1, 3))}
    model = load(_addons_file(tmp_path / "a.h5", "SpectralNormalization", arrays))
    x = RANDOM.normal(size=(5, 4))
    np.testing.assert_allclose(np.asarray(model(x)), x @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_a_file_of_functions_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_bytes(b"\xf8\xff = 1")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        import_file(path)
    path.write_bytes(b"x = 1\n\0")
    with pytest.raises(InputError, match="is not Python code: it holds zero bytes"):
        import_file(path)
    path.write_bytes("# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1"))
    assert import_file(path).name == "é"
