"""Pruning during training, and the optimizer's state across the knife."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import quarters
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import mostly_slow

from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.progress import Silent
from edgepress.compress.models import load, load_noted, restore_compilation, save
from edgepress.compress.pruning import prune
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.shrinking import (
    Growth,
    ShrinkChannels,
    doomed_weights,
    growth_for,
)
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers


def _model() -> keras.Model:
    return quarters.network(3, "sigmoid")


@pytest.fixture(scope="module")
def images() -> dict[str, Any]:
    """Which quarter of an image is brightest."""
    return quarters.images(500, 300, 0.8)


@pytest.fixture(scope="module")
def compiled(images: dict[str, Any]) -> keras.Model:
    """Trained for some epochs, with the state that Adam has then."""
    model = _model()
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(images["x_train"], images["y_train"], epochs=5, batch_size=25, verbose=0)
    return model


def _half(channels: Any) -> Any:
    alive = channels.all_alive()
    for group in channels.groups:
        if group.prunable:
            alive[group.units[::2]] = False
    return alive


@settings(deadline=None, max_examples=60)
@given(
    final=st.floats(1e-4, 1),
    begin=st.integers(0, 50),
    length=st.integers(1, 200),
    power=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)
def test_the_penalty_grows_to_its_full_strength(
    final: float, begin: int, length: int, power: float
) -> None:
    growth = Growth(final, begin, begin + length, power)
    shares = [growth.share(step) for step in range(begin + length + 5)]
    assert all(share == 0 for share in shares[:begin])
    assert all(0 < share <= final for share in shares[begin:])
    assert all(a <= b for a, b in itertools.pairwise(shares))
    assert shares[begin + length - 1 :] == [final] * 6


def test_what_shrinks_is_what_surgery_deletes_and_can_be_learnt() -> None:
    model = _model()
    channels = find_channels(model)
    alive = _half(channels)
    masks = {id(w): mask for w, mask in doomed_weights(channels, alive)}
    learnt = {id(w) for w in model.trainable_weights}
    assert set(masks) <= learnt
    for weight in model.trainable_weights:
        left = np.prod([len(kept) for kept in channels.kept(weight, alive)])
        mask = masks.get(id(weight))
        assert (0 if mask is None else mask.sum()) == np.prod(weight.shape) - left


def test_channels_that_shrank_to_nothing_are_not_missed() -> None:
    model = _model()
    frozen = model.layers[1]
    frozen.trainable = False
    channels = find_channels(model)
    alive = _half(channels)
    callback = ShrinkChannels(doomed_weights(channels, alive), Growth(1.0, 0, 1, 0.0))
    assert callback.left == 1
    callback.on_train_batch_end(0)
    assert callback.left == 0
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    small = remove(channels, alive).model
    np.testing.assert_allclose(model(x), small(x), atol=1e-6)
    assert not np.asarray(frozen.kernel)[..., channels.kept(frozen.kernel, ~alive)[3]].any()


@pytest.mark.parametrize("schedule", mostly_slow(["constant", "polynomial"], "polynomial"))
def test_pruning_during_training(
    schedule: Any, compiled: keras.Model, images: dict[str, Any]
) -> None:
    data = open_data(images, compiled)
    before = [w.numpy() for w in compiled.weights]
    result = prune(
        compiled, data, structure="channels", target_macs=0.5, schedule=schedule, penalty=0.3,
        recover_epochs=5, penalty_epochs=4, recover_batch_size=20, distill=False,
    )  # fmt: skip
    assert 0.45 <= result.after.macs / result.before.macs <= 0.5
    assert len(result.history["loss"]) == 5
    (note,) = [n for n in result.notes if "under the penalty" in n]
    shrunk, cut = (
        float(word.strip(",")) for word in note.split() if word[-1] != "%" and word.startswith("0.")
    )
    assert shrunk == pytest.approx(cut, abs=0.02)
    assert result.after.value is not None
    assert result.after.value > 0.6
    for weight, value in zip(compiled.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


class _Interrupt(Silent):
    """Presses Ctrl-C in the second epoch of the training that is the given one."""

    def __init__(self, training: int) -> None:
        self.left = training

    def stage(self, name: str) -> None:
        self.left -= name.startswith("training")

    def step(self, done: int, total: int, text: str = "") -> None:
        if self.left == 0 and text.startswith("epoch 2"):
            raise KeyboardInterrupt


CASES: dict[str, dict[str, Any]] = {
    "shrinking": {"schedule": "polynomial", "recover_epochs": 4},
    "after-shrinking": {"schedule": "polynomial", "recover_epochs": 4},
    "iterative": {"schedule": "iterative", "steps": 2, "recover_epochs": 4},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    mostly_slow(CASES, "iterative"),
)
def test_a_stopped_pruning_goes_on_to_the_same_bits(
    case: str, compiled: keras.Model, images: dict[str, Any], tmp_path: Path
) -> None:
    data = open_data(images, compiled)

    def run(folder: Path, progress: Any = None) -> keras.Model:
        options = {"structure": "channels", "target_macs": 0.5, "distill": False, **CASES[case]}
        small = prune(compiled, data, state_dir=folder, progress=progress, **options).model
        assert isinstance(small, keras.Model)
        return small

    whole = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "parts", _Interrupt(1 if case == "shrinking" else 2))
    resumed = run(tmp_path / "parts")
    for x, y in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    for x, y in zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_options_that_do_not_go_together_are_refused(images: dict[str, Any]) -> None:
    model = _model()
    data = open_data(images, model)

    def attempt(**options: Any) -> None:
        base = {"structure": "channels", "sparsity": 0.5, "schedule": "polynomial"}
        prune(model, data, **{**base, "recover_epochs": 2, **options})

    with pytest.raises(InputError, match="steps is not for channels with schedule polynomial"):
        attempt(steps=2)
    with pytest.raises(InputError, match="frequency is not for channels"):
        attempt(frequency=10)
    with pytest.raises(InputError, match="penalty_epochs 3 is more than recover_epochs 2"):
        attempt(penalty_epochs=3)
    with pytest.raises(InputError, match="grows from step 500"):
        attempt(begin_step=500)
    with pytest.raises(InputError, match="penalty is for structure channels with schedule"):
        attempt(schedule="one-shot", penalty=0.5)
    with pytest.raises(InputError, match="penalty"):
        attempt(penalty=1.5)


def test_a_constant_penalty_is_whole_from_its_beginning() -> None:
    spec = PruneSpec(structure="channels", sparsity=0.5, schedule="constant", begin_step=3)
    growth = growth_for(spec, 100)
    assert [growth.share(s) for s in (2, 3, 99)] == [0, spec.penalty, spec.penalty]


def _moments(model: keras.Model) -> dict[str, Any]:
    return {v.path.partition("/")[2]: v.numpy() for v in model.optimizer.variables}


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_compiled_model_trains_on_after_pruning_and_saving(
    compiled: keras.Model, images: dict[str, Any], tmp_path: Path, ending: str
) -> None:
    file = save(compiled, tmp_path / f"big.{ending}")
    result = prune(str(file), structure="channels", target_params=0.5)
    save(result.model, tmp_path / "small.keras")
    small = keras.models.load_model(tmp_path / "small.keras")
    channels = find_channels(compiled)
    held, cut = _moments(compiled), _moments(small)
    assert int(cut["iteration"]) == int(held["iteration"]) == 60
    assert set(cut) == set(held)
    sizes = {name: (held[name].size, cut[name].size) for name in cut}
    assert any(big > less for big, less in sizes.values())
    for name in cut:
        if name.endswith(("momentum", "velocity")):
            assert cut[name].any()
            assert np.isin(cut[name].ravel(), held[name].ravel()).all()
    assert channels.count > find_channels(small).count
    small.fit(images["x_train"], images["y_train"], epochs=1, batch_size=25, verbose=0)
    assert int(small.optimizer.iterations) == 72
    assert float(small.optimizer.learning_rate) == pytest.approx(2e-3)


def test_recovery_goes_on_from_the_optimizers_state(
    compiled: keras.Model, images: dict[str, Any]
) -> None:
    data = open_data(images, compiled)
    options: dict[str, Any] = {
        "structure": "channels", "target_macs": 0.5, "recover_epochs": 2, "recover_batch_size": 40,
    }  # fmt: skip
    steps = 2 * data.training_split.steps(40)
    state = [v.numpy() for v in compiled.optimizer.variables]
    one = prune(compiled, data, **options).model
    assert int(one.optimizer.iterations) == 60 + steps
    two = prune(compiled, data, steps=2, **options).model
    assert int(two.optimizer.iterations) == 60 + steps
    other = prune(compiled, data, recover_optimizer="sgd", **options)
    assert int(other.model.optimizer.iterations) == 0
    assert any("without a state" in note for note in other.notes)
    for variable, value in zip(compiled.optimizer.variables, state, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    plain = load(_model())
    assert not prune(plain, data, structure="channels", target_macs=0.5).model.compiled


def test_a_compilation_that_cannot_be_made_again_is_said(tmp_path: Path) -> None:
    def strange(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))

    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    model.compile("sgd", strange)
    save(model, tmp_path / "m.keras")
    loaded = load_noted(tmp_path / "m.keras")
    assert "can't be restored" in restore_compilation(loaded, tmp_path / "m.keras")
    assert not loaded.model.compiled
    objects = {"strange": strange}
    assert restore_compilation(loaded, tmp_path / "m.keras", objects) == ""
    assert loaded.model.compiled
