"""A file that is inspected isn't loaded where that isn't needed, and gives the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.compress.counting.calls import has_formula
from edgepress.compress.errors import InputError
from edgepress.compress.inspection import inspect
from edgepress.compress.models import load
from edgepress.compress.models.stored.opening import StoredModel, stored_model
from tests.doubles.architectures import MODELS

_READ = (
    "attention", "bidirectional", "dot_attention", "einsum", "gates_and_nesting", "mlp_mixer",
    "operations", "recurrent", "separable1d", "unet",
)  # fmt: skip


def _opened(path: Path) -> StoredModel | None:
    with stored_model(path, has_formula) as found:
        return found


def _thinned(model: keras.Model) -> keras.Model:
    """Zeros among the weights, so that there is something to count."""
    model.set_weights([np.where(np.abs(w) < 0.1, 0, w) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("name", _READ)
def test_the_figures_are_those_of_the_loaded_model(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    _thinned(MODELS[name]()).save(path)
    assert _opened(path) is not None
    assert inspect(path) == inspect(load(path))


def test_values_are_read_only_when_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.keras"
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)])
    model.save(path)
    with stored_model(path, has_formula) as stored:
        assert stored is not None
        first, second = stored.model.layers
        np.testing.assert_array_equal(first.kernel, model.layers[0].kernel)
        monkeypatch.setattr(type(second.kernel._value), "__array__", _forbidden)
        assert tuple(second.kernel.shape) == (4, 3)
        with pytest.raises(AssertionError):
            np.asarray(second.kernel)


def _forbidden(*_args: Any, **_named: Any) -> None:
    raise AssertionError


def test_a_trained_model_is_sized_without_its_optimizer(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 5)), np.zeros((4, 4)), verbose=0)
    model.save(path)
    assert inspect(path) == inspect(load(path))
    assert inspect(path).bytes < path.stat().st_size


@keras.saving.register_keras_serializable()
class Scaled(keras.layers.Dense):
    """A layer of the user's."""


def _with_numbers() -> keras.Model:
    layer = keras.layers.Normalization()
    layer.adapt(np.arange(12.0).reshape(4, 3))
    return keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(2)])


@pytest.mark.parametrize(
    "build",
    [
        lambda: keras.Sequential([keras.Input((3,)), Scaled(4)]),
        _with_numbers,
        MODELS["conv_lstm"],
        lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype="bfloat16")]),
    ],
)
def test_what_needs_values_or_code_is_loaded(
    build: Callable[[], keras.Model], tmp_path: Path
) -> None:
    path = tmp_path / "m.keras"
    build().save(path)
    assert _opened(path) is None
    assert inspect(path) == inspect(load(path))


def test_a_damaged_file_is_refused_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError) as said:
        load(path)
    with pytest.raises(InputError) as now:
        inspect(path)
    assert str(now.value) == str(said.value)


def test_layers_that_are_made_later_have_values(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]).save(path)
    for _ in range(2):
        with keras.StatelessScope():  # leaves Keras a list of those that wait
            keras.Variable(lambda shape, dtype: keras.ops.ones(shape, dtype), shape=(2,))
        assert _opened(path) is not None
    layer = keras.layers.Dense(4)
    layer.build((None, 3))
    assert np.count_nonzero(layer.kernel) == 12
    with keras.StatelessScope():  # gives values to variables that still have none
        keras.Variable(lambda shape, dtype: keras.ops.ones(shape, dtype), shape=(2,))
