"""Layers that published networks brought along, against their formulas written with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.models import load, save

tf_keras = pytest.importorskip("tf_keras")

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-2, 2, (3, 4, 5, 8)).astype("float32")


def _layer(class_name: str, config: dict[str, Any], weights: tuple[str, ...]) -> Any:
    """A layer as somebody's own code defines and saves it; what it computes isn't in the file."""

    def build(self: Any, shape: Any) -> None:
        for name in weights:
            self.add_weight(name=name, shape=(shape[-1],), initializer="uniform")
        self.built = True

    def get_config(self: Any) -> dict[str, Any]:
        return {**tf_keras.layers.Layer.get_config(self), **config}

    methods = {"build": build, "get_config": get_config, "call": lambda self, x: x}
    return type(class_name, (tf_keras.layers.Layer,), methods)()


def _saved(folder: Path, class_name: str, config: dict[str, Any], *weights: str) -> Any:
    layer = _layer(class_name, config, weights)
    model = tf_keras.Sequential([tf_keras.Input(X.shape[1:]), layer])
    model.set_weights([RANDOM.uniform(0.1, 0.9, w.shape) for w in model.get_weights()])
    model.save(folder / "old.h5")
    return model.get_weights()


def _computed(folder: Path) -> np.ndarray:
    """What the carried model computes, which is what it computes saved and loaded again."""
    model = load(folder / "old.h5")
    found = np.asarray(model(X))
    again = load(save(model, folder / "new.keras"))
    np.testing.assert_array_equal(np.asarray(again(X)), found)
    return found


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


def _blocks(x: np.ndarray) -> np.ndarray:
    batch, rows, columns, channels = x.shape
    parts = x.reshape(batch, rows, columns, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(batch, 2 * rows, 2 * columns, channels // 4)


def _mirrored(x: np.ndarray) -> np.ndarray:
    return np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")


def _hard_swish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x + 3, 0, 6) / 6


CASES: list[tuple[str, dict[str, Any], tuple[str, ...], Callable[..., np.ndarray]]] = [
    ("L2Normalization", {"gamma_init": 20}, ("gamma",), lambda x, g: _unit(x) * g),
    ("Normalize", {}, ("gamma",), lambda x, g: _unit(x) * g),
    ("Scale", {"axis": -1, "momentum": 0.9}, ("gamma", "beta"), lambda x, g, b: x * g + b),
    (
        "FixedBatchNormalization",
        {"axis": 3, "epsilon": 1e-3},
        ("gamma", "beta", "running_mean", "running_std"),
        lambda x, g, b, m, v: (x - m) / np.sqrt(v + 1e-3) * g + b,
    ),
    ("PixelShuffler", {"size": [2, 2], "data_format": "channels_last"}, (), _blocks),
    ("SubPixelUpscaling", {"scale_factor": 2}, (), _blocks),
    ("ReflectionPadding2D", {"padding": [1, 1]}, (), _mirrored),
    ("FixedDropout", {"rate": 0.3, "noise_shape": None, "seed": None}, (), lambda x: x),
    ("DropConnect", {"drop_connect_rate": 0.2}, (), lambda x: x),
    ("Swish", {}, (), lambda x: x / (1 + np.exp(-x))),
    ("Mish", {}, (), lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("HardSwish", {}, (), _hard_swish),
    ("HSwish", {}, (), _hard_swish),
    ("hswish", {}, (), _hard_swish),
]


@pytest.mark.parametrize(
    ("class_name", "config", "weights", "formula"), CASES, ids=[case[0] for case in CASES]
)
def test_formula(
    tmp_path: Path,
    class_name: str,
    config: dict[str, Any],
    weights: tuple[str, ...],
    formula: Callable[..., np.ndarray],
) -> None:
    values = _saved(tmp_path, class_name, config, *weights)
    np.testing.assert_allclose(_computed(tmp_path), formula(X, *values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("Scale", {"factor": 3.0}),
        ("ReflectionPadding2D", {"padding": [1, 2]}),
        ("PixelShuffler", {"size": [2, 2], "data_format": "channels_first"}),
        ("AttentionWithContext", {}),
        ("AnchorBoxes", {"this_scale": 0.2}),
        ("MultiHeadAttention", {"head_num": 4}),
    ],
)
def test_something_else_of_that_name_is_refused(
    tmp_path: Path, class_name: str, config: dict[str, Any]
) -> None:
    _saved(tmp_path, class_name, config)
    with pytest.raises(InputError, match=class_name) as caught:
        load(tmp_path / "old.h5")
    assert "--custom-objects" in caught.value.hint
