"""What pruning reports of a model's size and zeros, and what it costs to say it."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

from edgepress.compress.models import writing
from edgepress.compress.pruning import prune
from edgepress.compress.pruning_run import model_figures
from edgepress.compress.weights.masks.kernel_sparsity import kernel_sparsity

L = keras.layers


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(16, 3), L.ReLU(), L.Flatten(), L.Dense(4)]
    )


@pytest.fixture
def savings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths to which a model was saved since."""
    paths: list[Path] = []
    save, weights = keras.Model.save, keras.Model.save_weights

    def noted(way):
        return lambda self, path, *args, **kwargs: (
            paths.append(Path(path)),
            way(self, path, *args, **kwargs),
        )

    monkeypatch.setattr(keras.Model, "save", noted(save))
    monkeypatch.setattr(keras.Model, "save_weights", noted(weights))
    return paths


@pytest.mark.parametrize(
    "options", [{"structure": "channels", "target_macs": 0.5}, {"sparsity": 0.5}]
)
def test_a_pruning_saves_nothing_until_bytes_are_asked_for(
    model: keras.Model, savings: list[Path], tmp_path: Path, options: dict[str, object]
) -> None:
    result = prune(model, criterion="auto" if "structure" in options else "magnitude", **options)
    assert not savings
    read = [result.before.bytes, result.before.bytes, result.after.bytes, result.after.bytes]
    assert len(savings) == 2
    for name, shown, told in (("a", model, read[0]), ("b", result.model, read[2])):
        shown.save(tmp_path / f"{name}.keras")
        assert told == (tmp_path / f"{name}.keras").stat().st_size
    assert read[0] == read[1]
    assert read[2] == read[3]


def test_the_report_names_the_bytes(model: keras.Model) -> None:
    result = prune(model, structure="channels", target_macs=0.5)
    told = result.to_json()
    assert told["before"]["bytes"] == result.before.bytes > told["after"]["bytes"] > 0


def test_figures_travel_without_their_model(model: keras.Model) -> None:
    figures = model_figures(model)
    again = pickle.loads(pickle.dumps(figures))
    assert again == figures
    assert again.bytes == figures.bytes == writing.saved_bytes(model)
    assert dataclasses.asdict(again)["bytes"] == figures.bytes
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.bytes = 1


def test_zeros_are_counted_as_a_saved_file_holds_them(model: keras.Model, tmp_path: Path) -> None:
    kernel = model.layers[0].kernel
    value = np.array(kernel)
    value[..., ::2] = 0
    kernel.assign(value)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    arrays = [np.asarray(again.layers[i].kernel) for i in (0, 3)]
    zeros = sum(int((a == 0).sum()) for a in arrays)
    assert zeros > 0
    assert kernel_sparsity(model) == zeros / sum(a.size for a in arrays)
