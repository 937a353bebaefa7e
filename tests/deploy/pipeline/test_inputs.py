"""What a run found with other inputs isn't found again, and a search or fit isn't gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.models import load
from edgepress.deploy.fitting.fit import fit
from edgepress.deploy.fitting.spec import FitRecipe
from edgepress.deploy.pipeline.inputs import inputs_key
from edgepress.deploy.pipeline.pipeline import run
from edgepress.deploy.recipe import Recipe
from edgepress.deploy.searching.search import search
from edgepress.deploy.searching.space import SearchRecipe

OWN_LAYER = """
import keras

@keras.saving.register_keras_serializable("test_inputs")
class Times(keras.layers.Layer):
    def call(self, x):
        return x * 1.0

    def compute_output_shape(self, shape):
        return shape
"""
OWN_LOSS = """
import keras

def loss(truth, given):
    return keras.ops.mean(keras.ops.square(truth - given), -1)
"""


def network(activation: str = "relu", value: float = 0.1) -> keras.Model:
    """Not compiled: an optimizer's state would tell one file from another."""
    start = keras.initializers.Constant(value)
    first = layers.Dense(4, activation, kernel_initializer=start, name="first")
    return keras.Sequential([keras.Input((4,), name="x"), first, layers.Dense(2, name="last")])


def arrays(shift: float = 0.0) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32") + np.float32(shift)
    parts = {"train": slice(40), "val": slice(40, 50), "test": slice(50, 60)}
    return {f"{a}_{s}": b[p] for s, p in parts.items() for a, b in (("x", x), ("y", x[:, :2]))}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe with files of every kind beside it."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    network().save("m.keras")
    network(value=0.2).save("teacher.keras")
    np.savez("d.npz", **arrays())
    Path("own.py").write_text(OWN_LAYER)
    Path("losses.py").write_text(OWN_LOSS)
    return {
        "model": "m.keras",
        "data": {"spec": "d.npz", "loss": ["losses.py:loss"]},
        "custom_objects": "own.py",
        "finetune": {"epochs": 1, "teacher": "teacher.keras"},
        "export": {"formats": ["tflite"], "quantize": ["float32"]},
        "benchmark": {"runs": 2, "launches": 1},
    }


def key_of(tree: dict[str, Any]) -> str:
    recipe = Recipe.model_validate(tree)
    model = load(recipe.model, recipe.custom_objects)
    return inputs_key(recipe, model, open_data(recipe.data, model))


def other_activation() -> None:
    weights = load("m.keras").get_weights()
    model = network("tanh")
    model.set_weights(weights)
    model.save("m.keras")


def edited(name: str, before: str, after: str) -> Callable[[], Any]:
    return lambda: Path(name).write_text(Path(name).read_text().replace(before, after))


@pytest.mark.parametrize(
    "change",
    [
        other_activation,
        lambda: network(value=0.3).save("m.keras"),
        lambda: network(value=0.3).save("teacher.keras"),
        lambda: np.savez("d.npz", **arrays(1.0)),
        edited("own.py", "1.0", "-1.0"),
        edited("losses.py", "square", "abs"),
    ],
    ids=["activation", "weights", "teacher", "data", "layer", "loss"],
)
def test_whatever_a_recipe_reads_changes_its_key(
    tree: dict[str, Any], change: Callable[[], Any]
) -> None:
    before = key_of(tree)
    assert key_of(tree) == before
    change()
    assert key_of(tree) != before


def test_a_module_that_defines_a_layer_counts_with_what_it_holds(
    tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("times_layers.py").write_text(OWN_LAYER)
    Path("own.py").write_text("from times_layers import Times\n")
    monkeypatch.syspath_prepend(tmp_path)
    import times_layers  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "times_layers")
    keras.Sequential([keras.Input((4,), name="x"), times_layers.Times(), layers.Dense(2)]).save(
        "m.keras"
    )
    before = key_of(tree)
    edited("times_layers.py", "1.0", "-1.0")()
    assert key_of(tree) != before


@pytest.mark.slow
def test_a_resumed_run_doesnt_tell_figures_of_a_layer_that_was_changed_since(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    """The file that it made of the layer as it was isn't verified against the layer as it is."""
    from edgepress.compress.models.user_code import custom_objects_of

    times = custom_objects_of(Path("own.py"))["Times"]
    plain = {k: v for k, v in tree.items() if k != "finetune"} | {"data": "d.npz"}
    keras.Sequential([keras.Input((4,), name="x"), times(), layers.Dense(2)]).save("m.keras")
    recipe = Recipe.model_validate(plain)
    first = run(recipe, tmp_path / "run").contents
    edited("own.py", "1.0", "-1.0")()
    again = run(recipe, tmp_path / "run", resume=True).contents
    truth = load("m.keras", "own.py").predict(arrays()["x_test"], verbose=0) - arrays()["y_test"]
    assert again.before.value == pytest.approx(float(np.abs(truth).mean()), rel=1e-5)
    assert again.before.value != first.before.value
    assert again.artifacts[0].sha256 != first.artifacts[0].sha256


@pytest.mark.slow
def test_a_stage_whose_model_was_changed_is_done_again(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    recipe = Recipe.model_validate({k: v for k, v in tree.items() if k != "finetune"})
    first = run(recipe, tmp_path / "run").contents
    (kept,) = (tmp_path / "run" / "stages").glob("*-strip/model.keras")
    network(value=0.5).save(kept)
    (tmp_path / "run" / first.artifacts[0].path).unlink()
    again = run(recipe, tmp_path / "run", resume=True).contents
    assert again.artifacts[0].sha256 == first.artifacts[0].sha256


@pytest.fixture
def found(tree: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The recipe of a fit and a search."""
    return {k: v for k, v in tree.items() if k not in ("finetune", "custom_objects")}


@pytest.mark.slow
def test_a_fit_isnt_gone_on_with_on_other_data(found: dict[str, Any], tmp_path: Path) -> None:
    asked = {**found, "fit": {"minimise": "bytes", "quantize": ["float32"], "max_drop": 9}}
    recipe = FitRecipe.model_validate(asked)
    done = fit(recipe, tmp_path / "run", seconds=1)
    assert done.picks
    np.savez("d.npz", **arrays(1.0))
    with pytest.raises(InputError, match="no longer what"):
        fit(recipe, tmp_path / "run", seconds=1, resume=True)
    np.savez("d.npz", **arrays())
    trial = done.contents.trials[0]
    file = tmp_path / "run" / trial.folder / trial.artifact
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(InputError, match="judged"):
        fit(recipe, tmp_path / "run", seconds=1, resume=True)


@pytest.mark.slow
def test_a_search_isnt_gone_on_with_with_another_model(
    found: dict[str, Any], tmp_path: Path
) -> None:
    asked = {
        **found,
        "prune": [{"structure": "weights", "sparsity": 0.5}],
        "search": {"objectives": ["metric", "bytes"]},
    }
    recipe = SearchRecipe.model_validate(asked)
    done = search(recipe, tmp_path / "run", trials=1)
    kept = json.loads((tmp_path / "run" / "search.json").read_text())
    other_activation()
    with pytest.raises(InputError, match="no longer what"):
        search(recipe, tmp_path / "run", trials=1, resume=True)
    assert json.loads((tmp_path / "run" / "search.json").read_text()) == kept
    assert done.contents.front
