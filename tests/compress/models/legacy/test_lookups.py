"""Lookups come back with their vocabulary, or the file is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgepress.compress.errors import InputError
from edgepress.compress.models import load, load_noted

L = tf_keras.layers
WORDS = ["a", "b"]
LAYERS: dict[str, tuple[Callable[[], Any], str, Any]] = {
    "integers": (lambda: L.IntegerLookup(vocabulary=[10, 20, 30]), "int64", [[10, 30, 7]]),
    "counts": (
        lambda: L.IntegerLookup(vocabulary=[10, 20], output_mode="count"),
        "int64",
        [[10, 10, 7]],
    ),
    "strings": (lambda: L.StringLookup(vocabulary=WORDS), "string", [["a", "b", "c"]]),
    "text": (
        lambda: L.TextVectorization(vocabulary=WORDS, output_sequence_length=4),
        "string",
        [["b a c"]],
    ),
}


def _model(layer: Any, kind: str, x: Any) -> Any:
    inputs = tf_keras.Input((len(x[0]),), dtype=kind)
    return tf_keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("form", ["h5", "keras"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_listed_vocabulary_is_carried(name: str, form: str, tmp_path: Path) -> None:
    make, kind, values = LAYERS[name]
    model = _model(make(), kind, values)
    model.save(tmp_path / f"model.{form}")
    loaded = load_noted(tmp_path / f"model.{form}")
    x = tf.constant(values, kind)
    np.testing.assert_array_equal(np.asarray(loaded.model(x)), np.asarray(model(x)))
    assert len(loaded.notes) == 1


@pytest.mark.parametrize("name", LAYERS)
def test_a_vocabulary_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    """A SavedModel keeps it in a table of its graph."""
    make, kind, values = LAYERS[name]
    _model(make(), kind, values).save(tmp_path / "model", save_format="tf")
    with pytest.raises(InputError, match="vocabulary in a table") as caught:
        load(tmp_path / "model")
    assert "\n" not in caught.value.message
    assert "file.py:function" in caught.value.hint


def test_a_learned_vocabulary_is_refused(tmp_path: Path) -> None:
    layer = L.StringLookup()
    layer.adapt(np.array(["a", "b", "b"]))
    _model(layer, "string", [["a"]]).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="vocabulary in a table"):
        load(tmp_path / "model.keras")
