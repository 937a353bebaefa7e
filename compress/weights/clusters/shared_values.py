"""Weight sharing: the weights of a kernel take few distinct values, and zeros stay zeros.

Few distinct values compress well (`entropy`). As TFMOT's clustering, but on Keras 3 models: k-means
from k-means++ starts, zeros kept out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from jaxtyping import Float, Int

from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.training.loop.preserved_sparsity import Held, Holder, shared_count
from edgepress.compress.weights.masks.prunable import PrunableWeight, find_kernels

_ITERATIONS = 100


@dataclass(frozen=True)
class Clusters:
    """The shared values of one kernel.

    Attributes:
        path: The kernel's path.
        values: (k,) distinct values, rising.
        index: Which of them each weight has; the kernel's shape.
    """

    path: str
    values: Float[np.ndarray, " k"]
    index: Int[np.ndarray, "..."]

    def kernel(self) -> Float[np.ndarray, "..."]:
        """The kernel that is made of them."""
        return self.values[self.index]


def cluster_weights(
    model: keras.Model, count: int = 16, *, protect: Sequence[str] = (), seed: int = 0
) -> tuple[keras.Model, tuple[Clusters, ...]]:
    """Let the weights of each kernel of a copy of a model share few values.

    Args:
        model: A built Keras model; it stays as it is.
        count: Distinct values of each kernel at most, 2 or more. Where a kernel has zeros, zero is
            one of them and stays where it is.
        protect: Layers (names or globs) that stay as they are.
        seed: Draws the starts of k-means.

    Returns:
        The clustered model, and the clusters of each kernel, which `HoldClusters` takes.

    Raises:
        InputError: The count is below 2, or a name in `protect` matches no layer.
    """
    if count < 2:
        raise InputError(f"clusters {count} is below 2: a kernel of one value computes nothing")
    copy = copy_model(model)
    kernels, _ = find_kernels(copy, protect, depthwise=True)
    return copy, share_values(kernels, {kernel.path: count for kernel in kernels}, seed)


def share_values(
    kernels: Sequence[PrunableWeight], counts: Mapping[str, int], seed: int = 0
) -> tuple[Clusters, ...]:
    """Let the weights of kernels share few values, in place; zeros stay where they are.

    Args:
        kernels: The kernels; those of few enough values already keep them.
        counts: Distinct values at most, by kernel path; kernels that aren't named are left alone.
        seed: Draws the starts of k-means.

    Returns:
        The clusters of each kernel that is named.
    """
    found = []
    for kernel in kernels:
        if kernel.path in counts:
            clusters = _cluster(kernel, counts[kernel.path], seed)
            kernel.variable.assign(clusters.kernel())
            found.append(clusters)
    return tuple(found)


def shared_values(kernels: Sequence[PrunableWeight]) -> dict[str, int]:
    """The kernels that an earlier step has clustered, and how many values each has.

    Args:
        kernels: The kernels to look at.

    Returns:
        Distinct values by path, zero counted; kernels of many values are left out.
    """
    counts = {k.path: shared_count(k.value()) for k in kernels}
    return {path: count for path, count in counts.items() if count}


def k_means(points: Float[np.ndarray, " n"], count: int, seed: int = 0) -> Float[np.ndarray, " k"]:
    """Centres of at most `count` clusters of numbers, rising.

    Source: Lloyd, Least squares quantization in PCM (1982); starts of Arthur and Vassilvitskii,
    k-means++ (2007).
    """
    values, weights = np.unique(points, return_counts=True)
    if len(values) <= count:
        return values
    centres = np.sort(_plus_plus(values, weights, count, np.random.default_rng(seed)))
    # On a line, each cluster is an interval of the sorted values: sums come from running totals.
    total = np.concatenate([[0.0], np.cumsum(values * weights)])
    number = np.concatenate([[0], np.cumsum(weights)])
    for _ in range(_ITERATIONS):
        edges = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        low = np.concatenate([[0], edges])
        high = np.concatenate([edges, [len(values)]])
        members = number[high] - number[low]
        sums = total[high] - total[low]
        renewed = np.where(members > 0, sums / np.maximum(members, 1), centres)
        if np.array_equal(renewed, centres):
            break
        centres = renewed
    return np.unique(centres)


def _plus_plus(
    values: Float[np.ndarray, " n"],
    weights: Int[np.ndarray, " n"],
    count: int,
    random: np.random.Generator,
) -> Float[np.ndarray, " k"]:
    """Starts far from each other: each drawn by its squared distance to those before."""
    chosen = [float(random.choice(values, p=weights / weights.sum()))]
    distance = (values - chosen[0]) ** 2
    while len(chosen) < count:
        odds = distance * weights
        chosen.append(float(random.choice(values, p=odds / odds.sum())))
        distance = np.minimum(distance, (values - chosen[-1]) ** 2)
    return np.array(chosen)


def _cluster(kernel: PrunableWeight, count: int, seed: int) -> Clusters:
    weights = kernel.value()
    zero = weights == 0
    points = weights[~zero].astype(np.float64)
    free = count - bool(zero.any())
    centres = k_means(points, free, seed) if len(points) else np.zeros(0)
    values = np.unique(np.concatenate([centres, [0.0] if zero.any() else []])).astype(np.float32)
    edges = (values[1:] + values[:-1]) / 2
    index = np.searchsorted(edges, weights)
    if zero.any():
        # A small weight nearest to zero goes to its nearest other value: zeros are counted exactly.
        index = np.where(zero, np.searchsorted(values, 0.0), _nearest_nonzero(weights, values))
    return Clusters(kernel.path, values, index)


def _nearest_nonzero(
    weights: Float[np.ndarray, "..."], values: Float[np.ndarray, " k"]
) -> Int[np.ndarray, "..."]:
    others = np.flatnonzero(values)
    if not len(others):
        return np.zeros(weights.shape, np.int64)
    found = values[others]
    return others[np.searchsorted((found[1:] + found[:-1]) / 2, weights)]


class HoldClusters(keras.callbacks.Callback):
    """Keeps weights in their clusters while the model trains; the shared values move, zero stays.

    Args:
        model: The clustered model.
        clusters: What `cluster_weights` gave for it.
    """

    def __init__(self, model: keras.Model, clusters: Sequence[Clusters]) -> None:
        import tensorflow as tf

        super().__init__()
        kernels = {k.path: k for k in find_kernels(model, depthwise=True)[0]}
        held = [Held(kernels[c.path].variable, c.kernel() != 0, c.index) for c in clusters]
        self._share = tf.function(Holder(held).apply, autograph=False)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """As `hold`, after each step."""
        self.hold()

    def hold(self) -> None:
        """Give all weights of a cluster their mean."""
        self._share()
