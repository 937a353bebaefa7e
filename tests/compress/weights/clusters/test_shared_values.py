import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.weights import prune_weights
from edgepress.compress.weights.clusters.entropy import entropy, entropy_bounds
from edgepress.compress.weights.clusters.shared_values import HoldClusters, cluster_weights, k_means
from edgepress.compress.weights.masks.prunable import find_kernels

layers = keras.layers
numbers = st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=60).map(np.array)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6, 6, 3)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(5)]
    )


def kernels_of(model):
    return [k.value() for k in find_kernels(model, depthwise=True)[0]]


@given(numbers, st.integers(1, 9), st.integers(0, 5))
def test_centres_are_means_of_the_numbers_nearest_to_them(points, count, seed):
    centres = k_means(points, count, seed)
    assert 1 <= len(centres) <= count
    assert (np.diff(centres) > 0).all()
    assert points.min() <= centres[0]
    assert centres[-1] <= points.max()
    nearest = np.abs(points[:, None] - centres).argmin(1)
    spread = ((points - centres[nearest]) ** 2).sum()
    assert spread <= ((points - points.mean()) ** 2).sum() + 1e-9


@settings(max_examples=3, deadline=None)
@given(st.integers(2, 20), st.sampled_from([0.0, 0.5]))
def test_any_kernel_has_few_values_and_keeps_its_zeros(any_model, count, sparsity):
    model = any_model
    if sparsity:
        model = prune_weights(model, None, PruneSpec(sparsity=sparsity)).model
    clustered, clusters = cluster_weights(model, count)
    for before, after in zip(kernels_of(model), kernels_of(clustered), strict=True):
        assert len(np.unique(after)) <= count
        np.testing.assert_array_equal(before == 0, after == 0)
    assert len(clusters) == len(kernels_of(model))


def test_training_moves_the_values_and_keeps_the_clusters():
    model = prune_weights(network(), None, PruneSpec(sparsity=0.5)).model
    clustered, clusters = cluster_weights(model, 6)
    before = kernels_of(clustered)
    random = np.random.default_rng(0)
    clustered.compile("adam", "mse")
    clustered.fit(
        random.random((32, 6, 6, 3)),
        random.random((32, 5)),
        batch_size=4,
        verbose=0,
        callbacks=[HoldClusters(clustered, clusters)],
    )
    for old, new in zip(before, kernels_of(clustered), strict=True):
        assert len(np.unique(new)) <= 6
        np.testing.assert_array_equal(old == 0, new == 0)
        assert (old[old != 0] != new[old != 0]).all()


def test_one_value_is_refused():
    with pytest.raises(InputError, match="clusters 1 is below 2"):
        cluster_weights(network(), 1)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=200).map(np.array))
def test_entropy_lies_between_none_and_that_of_equal_shares(values):
    distinct = len(np.unique(values))
    assert 0 <= entropy(values) <= np.log2(distinct) + 1e-9


def test_entropy_of_a_fair_coin_is_one_bit():
    assert entropy(np.array([0, 1] * 8)) == 1
    assert entropy(np.zeros(5)) == 0
    assert entropy(np.zeros(0)) == 0


def test_pruning_and_clustering_lower_the_bound():
    model = network()
    pruned = prune_weights(model, None, PruneSpec(sparsity=0.8)).model
    shared, _ = cluster_weights(pruned, 4)
    sizes = [sum(b.bytes for b in entropy_bounds(m)) for m in (model, pruned, shared)]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]


def test_inspect_gives_the_bound_of_each_layer():
    from edgepress.compress import inspect

    shared, _ = cluster_weights(network(), 4)
    found = inspect(shared)
    bounds = {b.layer_path: b.bytes for b in entropy_bounds(shared)}
    assert {x.name: x.entropy_bytes for x in found.layers if x.entropy_bytes} == bounds
    assert found.entropy_bytes == sum(bounds.values()) < inspect(network()).entropy_bytes / 4
