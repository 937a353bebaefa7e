"""What earlier steps made of the weights is kept by the trainings that come after."""

import keras
import numpy as np
import pytest
from variants import mostly_slow

from edgepress.compress import finetune, prune
from edgepress.compress.errors import Stopped
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.loop.preserved_sparsity import held_weights
from edgepress.compress.weights.masks.prunable import find_kernels

layers = keras.layers


def network():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(16, 3, padding="same", name="first")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2D(16, 1, activation="relu", name="point")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.random((96, 6, 6, 4), np.float32)
    y = np.digitize(x.mean((1, 2, 3)), [0.48, 0.52])
    return {"x_train": x[:64], "y_train": y[:64], "x_val": x[64:], "y_val": y[64:]}


@pytest.fixture(scope="module")
def sparse():
    return prune(network(), structure="weights", sparsity=0.7, depthwise=True).model


@pytest.fixture(scope="module")
def clustered(sparse):
    return prune(sparse, structure="clusters", clusters=6).model


def kernels(model):
    return {k.path: k.value() for k in find_kernels(model, depthwise=True)[0]}


def same_zeros(one, other):
    pairs = [(a, kernels(other)[path]) for path, a in kernels(one).items()]
    return all(np.array_equal(a == 0, b == 0) for a, b in pairs)


def moved(one, other):
    return any((a != kernels(other)[path]).any() for path, a in kernels(one).items())


@pytest.mark.parametrize(
    "options",
    mostly_slow(
        [
            {},
            {"ema": 0.5},
            {"accumulate": 2},
            {"optimizer": "sgd", "weight_decay": 0.1},
            {"ema": 0.5, "accumulate": 2, "optimizer": "sgd", "weight_decay": 0.1},
        ],
        {},
        {"ema": 0.5, "accumulate": 2, "optimizer": "sgd", "weight_decay": 0.1},
    ),
    ids=str,
)
def test_fine_tuning_keeps_zeros(sparse, data, options):
    tuned = finetune(sparse, data, epochs=2, lr=0.01, batch_size=16, **options)
    assert moved(sparse, tuned.model)
    assert same_zeros(sparse, tuned.model)
    assert any("kept the" in note and "zeros" in note for note in tuned.history.notes)


def test_zeros_and_values_can_be_let_go(clustered, data):
    tuned = finetune(clustered, data, epochs=1, lr=0.01, release_zeros=True, release_clusters=True)
    assert not same_zeros(clustered, tuned.model)
    assert max(len(np.unique(k)) for k in kernels(tuned.model).values()) > 6
    assert not any("kept the" in note for note in tuned.history.notes)


@pytest.mark.parametrize("ema", mostly_slow([None, 0.5], 0.5))
def test_fine_tuning_keeps_shared_values(clustered, data, ema):
    tuned = finetune(clustered, data, epochs=2, lr=0.01, batch_size=16, ema=ema).model
    assert moved(clustered, tuned)
    assert same_zeros(clustered, tuned)
    for path, kernel in kernels(clustered).items():
        assert len(np.unique(kernels(tuned)[path])) <= len(np.unique(kernel)), path


class Stop(keras.callbacks.Callback):
    """Stands for Ctrl-C in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_a_resumed_training_ends_at_the_same_weights(clustered, data, tmp_path):
    options = {"epochs": 2, "lr": 0.01, "batch_size": 16, "feature_cache": False}
    whole = finetune(clustered, data, **options).model
    with pytest.raises(Stopped):
        finetune(clustered, data, state_dir=tmp_path, callbacks=[Stop()], **options)
    resumed = finetune(clustered, data, state_dir=tmp_path, **options).model
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("schedule", mostly_slow(["one-shot", "polynomial"], "one-shot"))
def test_cutting_channels_keeps_the_zeros_of_what_is_left(clustered, data, schedule):
    options = {"structure": "channels", "sparsity": 0.5, "schedule": schedule, "round_to": 1}
    options |= {"recover_epochs": 2, "recover_batch_size": 16, "recover_lr": 0.01}
    cut = prune(clustered, data, **options)
    wide, narrow = kernels(clustered), kernels(cut.model)
    assert any(narrow[path].size < wide[path].size for path in wide)
    for path, kernel in narrow.items():
        assert len(np.unique(kernel)) <= 6, path
    assert sum((k == 0).sum() for k in narrow.values()) > 0.3 * sum(k.size for k in narrow.values())


def test_repair_fits_only_weights_that_are_there(sparse, data):
    options = {"structure": "channels", "sparsity": 0.5, "criterion": "l1", "round_to": 1}
    plain = prune(sparse, data, repair=False, **options).model
    repaired = prune(sparse, data, **options)
    assert moved(plain, repaired.model)
    assert same_zeros(plain, repaired.model)
    assert any("repair and recovery kept" in note for note in repaired.notes)
    freed = prune(sparse, data, release_zeros=True, **options).model
    assert not same_zeros(plain, freed)


@pytest.mark.slow
def test_a_later_pruning_keeps_earlier_zeros(sparse, data):
    """Milder masks, those of a pattern, and protected kernels: what was zero stays zero."""
    options = {"recover_epochs": 1, "recover_batch_size": 16, "recover_lr": 0.01}
    milder = prune(sparse, data, structure="weights", sparsity=0.2, **options).model
    assert same_zeros(sparse, milder)
    both = prune(sparse, data, structure="nm", pattern="2:4", protect=["point"], **options).model
    assert moved(sparse, both)
    for path, kernel in kernels(sparse).items():
        assert (kernels(both)[path][kernel == 0] == 0).all(), path


def test_a_start_of_zeros_is_no_pruned_kernel(sparse):
    fresh = keras.Sequential([keras.Input((8,)), layers.Dense(9, kernel_initializer="zeros")])
    assert held_weights(fresh.weights, TrainSpec()) == {}
    assert len(held_weights(sparse.weights, TrainSpec())) == len(kernels(sparse))
    assert held_weights(network().weights, TrainSpec()) == {}
