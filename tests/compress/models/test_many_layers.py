"""What makes reading large models cheap changes neither models nor the process."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.compress.inspection import inspect
from edgepress.compress.models import load


@keras.saving.register_keras_serializable()
class Anchored(keras.layers.Layer):
    """Adds values that its initializer gives and no file keeps."""

    def build(self, shape: Any) -> None:
        """Make them."""
        self.anchors = self.add_weight(
            shape=shape[1:], initializer=keras.initializers.Constant(3.0), trainable=False
        )

    def call(self, inputs: Any) -> Any:
        """Add them."""
        return inputs + self.anchors

    def save_own_variables(self, store: Any) -> None:
        """Keep nothing."""

    def load_own_variables(self, store: Any) -> None:
        """Look for nothing."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A network whose layers draw their weights in several ways, and its file."""
    kinds = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            kinds.LSTM(4, return_sequences=True, recurrent_initializer="orthogonal"),
            kinds.Dense(4, kernel_initializer="he_normal"),
            Anchored(),
            kinds.BatchNormalization(),
            kinds.Dropout(0.5),
        ]
    )
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    model.save(path)
    return model, path


def test_weights_are_the_files_and_constants_their_initializers(
    saved: tuple[keras.Model, Path],
) -> None:
    model, path = saved
    found = load(path)
    for one, other in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.layers[2].anchors, np.full((5, 4), 3.0))


def test_new_layers_draw_their_weights_again_after_a_file_was_read(
    saved: tuple[keras.Model, Path],
) -> None:
    load(saved[1])
    layer = keras.layers.Dense(4)
    layer.build((None, 4))
    assert np.count_nonzero(layer.kernel) == 16


@pytest.mark.parametrize("searching", [True, False])
def test_garbage_is_looked_for_as_before(
    searching: bool, saved: tuple[keras.Model, Path], tmp_path: Path
) -> None:
    (gc.enable if searching else gc.disable)()
    try:
        inspect(load(saved[1]))
        with pytest.raises(ValueError, match="damaged"):
            load(_cut(saved[1], tmp_path))
        assert gc.isenabled() is searching
    finally:
        gc.enable()


def _cut(path: Path, folder: Path) -> Path:
    """A file of the same beginning."""
    cut = folder / "m.h5"
    cut.write_bytes(b"\x89HDF\r\n\x1a\n" + path.read_bytes()[:200])
    return cut
