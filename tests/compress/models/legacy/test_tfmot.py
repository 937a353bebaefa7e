"""Models that TFMOT wrapped for pruning or clustering, saved as they are."""

from itertools import product

import keras
import numpy as np
import pytest
import tf_keras
from tensorflow_model_optimization.clustering.keras import CentroidInitialization, cluster_weights
from tensorflow_model_optimization.sparsity.keras import (
    ConstantSparsity,
    UpdatePruningStep,
    prune_low_magnitude,
)
from variants import mostly_slow

from edgepress.compress.models import load

layers = tf_keras.layers


def _images():
    return tf_keras.Sequential(
        [
            layers.Conv2D(6, 3, input_shape=(6, 6, 3), activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def _sequence():
    inputs = tf_keras.Input((5, 4))
    return tf_keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(inputs)))


MODELS = {"images": _images, "sequence": _sequence}


# TFMOT itself can't write a pruned recurrent layer as HDF5: its two masks have one name.
@pytest.mark.parametrize(
    ("kind", "form"),
    mostly_slow(
        [("images", "h5"), ("images", "keras"), ("sequence", "keras")],
        ("images", "h5"),
        ("sequence", "keras"),
    ),
)
def test_a_half_pruned_model_loads_with_its_masks(kind, form, tmp_path):
    wrapped = prune_low_magnitude(MODELS[kind](), ConstantSparsity(0.75, 0, frequency=1))
    wrapped.compile("sgd", "mse")
    random = np.random.default_rng(0)
    x = random.random((8, *wrapped.input_shape[1:]))
    y = random.random((8, *wrapped.output_shape[1:]))
    wrapped.fit(x, y, verbose=0, callbacks=[UpdatePruningStep()])
    # Kernels that a further step has moved under the mask: the mask must be applied.
    for layer in wrapped.layers:
        for weight, _, _ in getattr(layer, "pruning_vars", []):
            weight.assign_add(0.01 * np.ones(weight.shape))
    path = tmp_path / f"model.{form}"
    wrapped.save(path)
    model = load(path)
    assert isinstance(model, keras.Model)
    kernels = [w.numpy() for w in model.weights if "kernel" in w.name]
    assert [float((k == 0).mean()) for k in kernels] == pytest.approx(
        [0.75] * len(kernels), abs=0.01
    )


@pytest.mark.parametrize(
    ("kind", "form"),
    mostly_slow(product(MODELS, ("h5", "keras")), ("images", "h5"), ("sequence", "keras")),
)
def test_a_clustered_model_loads_with_its_values(kind, form, tmp_path):
    clustered = cluster_weights(MODELS[kind](), 4, CentroidInitialization.LINEAR)
    path = tmp_path / f"model.{form}"
    clustered.save(path)
    model = load(path)
    x = np.random.default_rng(0).random((4, *clustered.input_shape[1:]))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), clustered.predict(x, verbose=0), atol=1e-5
    )
    kernels = [w.numpy() for w in model.weights if "kernel" in w.name]
    assert all(len(np.unique(k)) <= 4 for k in kernels)


def _zeros(model):
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "kernel" in weight.name:
            weight.assign(weight * (random.random(weight.shape) > 0.6))
    return model


@pytest.mark.parametrize("form", ["h5", "keras"])
@pytest.mark.parametrize("keeps_zeros", [False, True])
def test_a_model_saved_while_its_clusters_were_trained_is_what_tfmot_strips(
    form, keeps_zeros, tmp_path
):
    from tensorflow_model_optimization.clustering.keras import strip_clustering
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    tf_keras.utils.set_random_seed(0)
    clustered = cluster.cluster_weights(
        _zeros(_images()),
        5,
        CentroidInitialization.KMEANS_PLUS_PLUS,
        preserve_sparsity=keeps_zeros,
    )
    clustered.compile(tf_keras.optimizers.SGD(0.02), "mse")
    random = np.random.default_rng(1)
    x = random.random((16, 6, 6, 3))
    clustered.fit(x, random.random((16, 5)), batch_size=4, verbose=0)
    path = tmp_path / f"model.{form}"
    clustered.save(path)
    model = load(path)
    plain = strip_clustering(clustered)
    for found, wanted in zip(model.weights, plain.weights, strict=True):
        same = np.isclose(found.numpy(), wanted.numpy(), atol=1e-6)
        # The mask of zeros isn't saved: a weight that passed through zero in the last step is one.
        assert same.mean() >= (0.95 if keeps_zeros and "kernel" in found.name else 1)
        assert not found.numpy()[wanted.numpy() == 0].any()
    kernels = [w.numpy() for w in model.weights if "kernel" in w.name]
    assert all(len(np.unique(k)) <= 5 for k in kernels)
    if keeps_zeros:
        assert all((k == 0).mean() > 0.5 for k in kernels)
