"""Inputs without a name of their own, which Keras names again in every copy and file of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgepress.compress import load, save
from edgepress.deploy.exporting.export import export

CODE = """
import keras
from keras import layers

def model():
    one, two = keras.Input((5,)), keras.Input((3,))
    x = layers.Concatenate()([layers.Dense(4, activation="relu")(one), two])
    return keras.Model([one, two], layers.Dense(3, activation="softmax")(x))
"""


def test_a_functions_model_has_the_names_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    model = load(f"{tmp_path / 'mine.py'}:model")
    again = load(save(model, tmp_path / "m.keras"))
    assert [t.name for t in model.inputs] == [t.name for t in again.inputs]
    x = {t.name: np.ones((2, t.shape[1]), "float32") for t in model.inputs}
    np.testing.assert_allclose(model.predict(x, verbose=0), again.predict(x, verbose=0), atol=1e-6)


def test_data_of_a_model_calibrates_its_copy(tmp_path: Path, worker: Any) -> None:
    policy = keras.DTypePolicy("mixed_float16")  # exported from a copy in 32-bit floats
    one, two = keras.Input((5,)), keras.Input((3,))
    x = keras.layers.Concatenate()([keras.layers.Dense(4, dtype=policy)(one), two])
    output = keras.layers.Dense(3, activation="softmax", dtype="float32")(x)
    draw = np.random.default_rng(0)
    data = {"x": [draw.normal(size=(40, n)) for n in (5, 3)], "y": np.arange(40) % 3}
    [file] = export(
        keras.Model([one, two], output), tmp_path / "out", ("tflite",), ("int8",), data=data,
        worker=worker,
    )  # fmt: skip
    assert file.verified.passed
