"""The whole of it on a small data set: criteria, repair, recovery, rounds, blocks."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import quarters

from edgepress.compress.data import Dataset, evaluate, open_data
from edgepress.compress.errors import InputError
from edgepress.compress.inspection import inspect
from edgepress.compress.models import load
from edgepress.compress.models.fingerprints import fingerprint
from edgepress.compress.pruning import prune
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.importance import CRITERIA
from edgepress.compress.structure.layers.blocks import find_blocks
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.repair.refit import refit
from edgepress.compress.structure.repair.repair import repair
from edgepress.compress.structure.structured_run import rounds_of
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers


def _arrays() -> dict[str, Any]:
    return quarters.images(900, 600, 0.7)


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, Dataset]:
    model = quarters.network(1, "relu")
    arrays = _arrays()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(arrays["x_train"], arrays["y_train"], epochs=6, batch_size=50, verbose=0)
    model.optimizer = None
    return model, open_data(arrays, model)


def test_refit_finds_the_kernel_that_made_the_outputs() -> None:
    rng = np.random.default_rng(0)
    inputs, kernel = rng.normal(size=(400, 6)), rng.normal(size=(6, 3))
    found, offset = refit(inputs, inputs @ kernel + 2, np.zeros((6, 3)), ridge=0.0)
    assert np.allclose(found, kernel, atol=1e-6)
    assert np.allclose(offset, 2, atol=1e-6)


def test_refit_absorbs_the_mean_of_what_is_gone() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal((0, 3), size=(500, 2))
    _, offset = refit(inputs[:, :1], inputs @ np.array([[1.0], [2.0]]), np.array([[1.0]]))
    assert offset == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_scores_every_group(
    criterion: str, trained: tuple[keras.Model, Dataset]
) -> None:
    model, data = trained
    channels = find_channels(model)
    spec = PruneSpec(structure="channels", sparsity=0.5, criterion=criterion)
    scores = score_groups(channels, spec, data, Budget(channels))
    for group in channels.groups:
        if group.prunable:
            found = scores[group.name]
            assert found.shape == (group.size,)
            assert np.isfinite(found).all()
            assert (found >= 0).all()
            assert found.std() > 0


def test_data_goes_through_embeddings_but_not_through_a_fixed_batch() -> None:
    keras.utils.set_random_seed(0)
    i = keras.Input((5,), dtype="int32")
    x = keras.layers.GRU(8)(keras.layers.Embedding(9, 8, mask_zero=True)(i))
    model = keras.Model(i, keras.layers.Dense(2)(x))
    rng = np.random.default_rng(0)
    data = {"x": rng.integers(0, 9, (40, 5)).astype("int32"), "y": rng.normal(size=(40, 2))}
    result = prune(model, data, structure="channels", target_params=0.5, criterion="taylor")
    assert result.after.params <= 0.5 * result.before.params
    fixed = keras.Sequential([keras.Input(batch_shape=(2, 6)), keras.layers.Dense(8)])
    fixed.add(keras.layers.Dense(2))
    data = {"x": rng.normal(size=(40, 6)), "y": rng.normal(size=(40, 2))}
    with pytest.raises(InputError, match="fixed batch size of 2"):
        prune(fixed, data, structure="channels", target_params=0.5)
    small = prune(fixed, structure="channels", target_params=0.5).model
    assert small.input_shape == (2, 6)


@pytest.mark.parametrize("criterion", [c for c in CRITERIA if c not in ("random", "apoz", "lamp")])
def test_a_dead_channel_goes_first(criterion: str, trained: tuple[keras.Model, Dataset]) -> None:
    model, data = keras.models.clone_model(trained[0]), trained[1]
    model.set_weights(trained[0].get_weights())
    branch = model.get_layer("branch")
    kernel, bias = (np.array(w) for w in branch.get_weights())
    kernel[..., 5], bias[5] = 0, 0
    if criterion == "fpgm":
        kernel[..., 5] = kernel.mean(-1)
    branch.set_weights([kernel, bias])
    channels = find_channels(model)
    spec = PruneSpec(structure="channels", sparsity=0.5, criterion=criterion)
    scores = score_groups(channels, spec, data, Budget(channels))
    assert int(np.argmin(scores["branch"])) == 5


def test_repair_helps_without_training(trained: tuple[keras.Model, Dataset]) -> None:
    model, data = trained
    before = fingerprint(model)
    channels = find_channels(model)
    rng = np.random.default_rng(0)
    alive = channels.all_alive()
    for group in channels.groups:
        if group.prunable:
            alive[rng.choice(group.units, group.size // 2, replace=False)] = False
    cut, mended = remove(channels, alive), remove(channels, alive)
    repaired = repair(mended, data.calibration(300))
    assert "back" in repaired
    values = [evaluate(s.model, data.report_split, data.task) for s in (cut, mended)]
    assert values[1] > values[0] + 0.1
    assert fingerprint(model) == before


def test_repair_of_an_uncut_model_changes_nothing(trained: tuple[keras.Model, Dataset]) -> None:
    model, data = trained
    channels = find_channels(model)
    twin = remove(channels, channels.all_alive())
    assert repair(twin, data.calibration(100)) == ()
    samples = data.calibration(50, 1)
    inputs = next(iter(samples.values()))
    assert np.allclose(model(inputs), twin.model(inputs), atol=1e-3)


def test_prune_reports_what_it_did(trained: tuple[keras.Model, Dataset]) -> None:
    model, data = trained
    result = prune(model, data, structure="channels", target_macs=0.5, recover_epochs=2)
    found = result.to_json()
    assert found["criterion"] == "taylor"
    assert 0.45 <= found["after"]["macs"] / found["before"]["macs"] <= 0.5
    assert found["after"]["value"] > 0.6
    assert found["after"]["split"] == "test"
    assert found["removed"]
    assert found["pinned"][-1]["layer"] == "out"
    assert found["history"]["loss"]


def test_prune_in_rounds_and_without_data(trained: tuple[keras.Model, Dataset]) -> None:
    model, data = trained
    rounds = prune(model, data, structure="channels", target_params=0.4, steps=2)
    assert 0.36 <= rounds.after.params / rounds.before.params <= 0.4
    bare = prune(model, structure="channels", sparsity=0.5)
    assert (bare.criterion, bare.after.value) == ("l1", None)
    again = prune(model, structure="channels", sparsity=0.5)
    assert fingerprint(bare.model) == fingerprint(again.model)
    assert "without data" in " ".join(bare.notes)
    with pytest.raises(InputError, match="during training, and there is no data"):
        prune(model, structure="channels", sparsity=0.5, schedule="polynomial")
    with pytest.raises(InputError, match="during training, and recover_epochs is 0"):
        prune(model, data, structure="channels", sparsity=0.5, schedule="polynomial")
    with pytest.raises(InputError, match="doesn't come back"):
        prune(model, structure="channels", sparsity=0.5, schedule="moving")
    with pytest.raises(InputError, match="one step only"):
        prune(model, structure="channels", sparsity=0.5, schedule="iterative")
    with pytest.raises(InputError, match="recover_epochs needs data"):
        prune(model, structure="channels", sparsity=0.5, recover_epochs=1)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("epochs", [0, 1, 7, 24])
def test_rounds_share_the_epochs_and_end_at_the_target(steps: int, epochs: int) -> None:
    spec = PruneSpec(structure="channels", target_macs=0.3, steps=steps, recover_epochs=epochs)
    rounds = rounds_of(spec, 10_000, 100)
    assert sum(r.recover_epochs for r in rounds) == epochs
    assert rounds[-1].recover_epochs == max(r.recover_epochs for r in rounds)
    targets = [r.target_macs for r in rounds]
    assert targets[-1] == pytest.approx(3000)
    shares = [b / a for a, b in itertools.pairwise([10_000, *targets])]
    assert shares == pytest.approx([0.3 ** (1 / steps)] * steps)


def test_blocks_are_found_and_removed_for_real(trained: tuple[keras.Model, Dataset]) -> None:
    model, data = trained
    blocks = find_blocks(find_channels(model))
    assert {"branch", "back"} <= {layer for b in blocks for layer in b.layers}
    (add,) = [b for b in blocks if b.name.startswith("add")]
    assert set(add.layers) >= {"branch", "back"}
    result = prune(model, data, structure="layers", target_macs=0.6)
    assert result.after.macs <= 0.6 * result.before.macs
    gone = {layer for r in result.removed for layer in r.layers}
    assert not gone & {layer.name for layer in result.model.layers}
    with pytest.raises(InputError, match="measures what each layer is worth"):
        prune(model, structure="layers", target_macs=0.6)
    with pytest.raises(InputError, match="every block that can go keeps"):
        prune(model, data, structure="layers", target_macs=0.01)


def test_inspect_has_the_fields_that_checks_read(trained: tuple[keras.Model, Dataset]) -> None:
    found = inspect(trained[0]).to_json()
    assert found["params"] == trained[0].count_params()
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert {"name", "type", "params", "macs", "trainable", "sparsity"} <= set(found["layers"][0])
    groups = {g["id"]: g for g in found["groups"]}
    assert groups["branch"] == {
        "id": "branch",
        "channels": 16,
        "layers": ("branch",),
        "prunable": True,
        "reason": None,
    }
    assert not groups["out"]["prunable"]
    assert "over all its channels" in groups["out"]["reason"]


def test_a_target_above_the_model_says_that_nothing_was_to_do(
    trained: tuple[keras.Model, Dataset],
) -> None:
    result = prune(trained[0], structure="channels", target_macs=1e9)
    assert (result.removed, result.after.macs) == ((), result.before.macs)
    assert any("within the target already" in note for note in result.notes)


AUGMENTATIONS = {
    "contrast": lambda: L.RandomContrast(0.1),
    "brightness": lambda: L.RandomBrightness(0.1),
    "erasing": lambda: L.RandomErasing(),
    "posterization": lambda: L.RandomPosterization(4),
}


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_a_saved_model_with_augmentation_is_pruned(kind: str, tmp_path) -> None:
    """Their configurations hold lists that keep track of the layer, and can't be copied deeply."""
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(16, 3, activation="relu")(AUGMENTATIONS[kind]()(inputs))
    model = keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling2D()(x)))
    model.save(tmp_path / "m.keras")
    small = prune(load(tmp_path / "m.keras"), None, structure="channels", target_macs=0.5).model
    assert small.layers[2].filters <= 8
    assert type(small.layers[1]) is type(model.layers[1])
