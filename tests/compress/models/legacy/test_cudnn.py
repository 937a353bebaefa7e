"""cuDNN's recurrent layers of Keras 2, whose kernels and biases lie otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgepress.compress.models import load

tf_keras = pytest.importorskip("tf_keras")
L = tf_keras.layers
RANDOM = np.random.default_rng(0)
GATES = {"LSTM": 4, "GRU": 3}


def _as_cudnn(kind: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays of a Keras cell as cuDNN keeps them.

    Source: Keras 2.2, keras/engine/saving.py, `_convert_rnn_weights`.
    """
    kernel, recurrent, bias = arrays
    gates = GATES[kind]
    turned = [part.T.reshape(part.shape, order="C") for part in np.hsplit(kernel, gates)]
    inner = [part.T for part in np.hsplit(recurrent, gates)]
    both = np.concatenate([0.25 * bias, 0.75 * bias]) if kind == "LSTM" else bias.ravel()
    return [np.hstack(turned), np.hstack(inner), both]


def _rename(path: Path, kind: str, wrapped: bool) -> None:
    """Make the layer of a file the cuDNN layer that computes the same."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer = config["config"]["layers"][1]
        (layer["config"]["layer"] if wrapped else layer)["class_name"] = f"CuDNN{kind}"
        file.attrs["model_config"] = json.dumps(config)
        group = file["model_weights"][layer["config"]["name"]]
        names = list(group.attrs["weight_names"])
        for start in range(0, len(names), 3):
            arrays = [np.asarray(group[name]) for name in names[start : start + 3]]
            for name, value in zip(names[start:], _as_cudnn(kind, arrays), strict=False):
                del group[name]
                group[name] = value


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", GATES)
def test_equal_to_the_plain_cell(tmp_path: Path, kind: str, wrapped: bool) -> None:
    cell: Any = getattr(L, kind)(3, return_sequences=True)
    model = tf_keras.Sequential(
        [tf_keras.Input((4, 2)), L.Bidirectional(cell) if wrapped else cell]
    )
    model.set_weights([RANDOM.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()])
    model.save(tmp_path / "old.h5")
    _rename(tmp_path / "old.h5", kind, wrapped)
    x = RANDOM.uniform(-1, 1, (3, 4, 2)).astype("float32")
    found = np.asarray(load(tmp_path / "old.h5")(x))
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=1e-5, atol=1e-6)
