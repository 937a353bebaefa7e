"""TFMOT's wrappers: masks and clusters, written into the kernels that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.formats.saved_model import LayerWeights, Tensor, Weight

# Wrapper classes, and what is remarked when one comes off.
_CLUSTERED = "its clusters are written into the kernel"
WRAPPERS = {
    "PruneLowMagnitude": "its pruning mask is applied to the kernel",
    "ClusterWeights": _CLUSTERED,
    "ClusterWeightsRNN": _CLUSTERED,
    "ClusterWeightsMHA": _CLUSTERED,
}
_OWN = re.compile(r"(mask|threshold|pruning_step|cluster_centroids|pulling_indices)(_.*)?")


def unwrap(arrays: Sequence[Weight], keeps_zeros: bool = False) -> list[Weight]:
    """The arrays of the layer inside, as the wrapper would let it compute.

    Args:
        arrays: All arrays of the wrapped layer, those of the wrapper told by their names.
        keeps_zeros: Whether a clustering wrapper preserves sparsity.

    Returns:
        The inner arrays in their order, masked or made of their clusters.
    """
    inner: list[Weight] = []
    own: dict[str, list[Tensor]] = {}
    for array in arrays:
        found = _OWN.fullmatch(_leaf(array))
        if found:
            own.setdefault(found[1], []).append(array.value)
        else:
            inner.append(array)
    done: set[int] = set()
    for mask in own.get("mask", []):
        kernel = next((a.value for i, a in enumerate(inner) if _fits(i, a, mask, done)), mask)
        _replace(inner, np.where(mask != 0, kernel, 0).astype(kernel.dtype), done)
    pairs = zip(own.get("cluster_centroids", []), own.get("pulling_indices", []), strict=True)
    for centroids, indices in pairs:
        weights = next((a.value for i, a in enumerate(inner) if _fits(i, a, indices, done)), None)
        _replace(inner, _clustered(weights, centroids, indices, keeps_zeros), done)
    if "pulling_indices" in own:
        # Clustering takes the kernels away from the layer, so that its bias comes first.
        inner.sort(key=lambda array: array.leaf == "bias" or array.value.ndim == 1)
    return inner


def _clustered(
    weights: Tensor | None, centroids: Tensor, indices: Tensor, keeps_zeros: bool
) -> Tensor:
    """The kernel that the wrapper would compute with next.

    The indices are those of the last step; centroids and weights have moved since, and the wrapper
    assigns each weight again before it computes: to the nearest centroid, of its output channel
    where each has its own. Where it keeps zeros, the centroid of the weights that are zero is one,
    and all that it held in the last step stays zero.
    """
    table = np.atleast_2d(centroids).copy()
    if keeps_zeros and weights is not None:
        held, kept = indices.reshape(-1, len(table)), weights.reshape(-1, len(table)).copy()
        for row, used, values in zip(table, held.T, kept.T, strict=True):
            chosen = used[values == 0]
            zero = np.bincount(chosen).argmax() if len(chosen) else np.abs(row).argmin()
            row[zero], values[used == zero] = 0, 0
        weights = kept.reshape(weights.shape)
    if weights is not None:
        # Part by part: all distances of a large kernel at once would fill the memory.
        indices = np.stack([np.abs(part[..., None] - table).argmin(-1) for part in weights])
    channels = np.arange(len(table)) if centroids.ndim > 1 else 0
    return np.asarray(table[channels, indices])


def from_archive(class_name: str, weights: LayerWeights) -> list[Weight]:
    """All arrays of a wrapped layer in an archive, where a wrapper's own ones have no names."""
    inner = [a for child in weights.children.values() for a in child.arrays()]
    return [*inner, *_named(class_name, weights.own)]


def _leaf(array: Weight) -> str:
    """The last part of a name that isn't a bare number ("pulling_indices_kernel/0:0")."""
    parts = array.name.partition(":")[0].split("/")
    return parts[-2] if parts[-1].isdecimal() and len(parts) > 1 else parts[-1]


def _fits(place: int, array: Weight, mask: Tensor, done: set[int]) -> bool:
    return place not in done and array.value.shape == mask.shape


def _named(class_name: str, own: Sequence[Weight]) -> Iterator[Weight]:
    """A wrapper's own arrays by name: it also lists the kernel, which a pruned layer lists too."""
    shapes = [a.value.shape for a in own if np.issubdtype(a.value.dtype, np.integer)]
    pruning = class_name == "PruneLowMagnitude"
    for array in own:
        value = array.value
        if value.ndim == 0:
            continue
        if pruning:
            if np.isin(value, (0, 1)).all():
                yield Weight("mask", value)
        elif np.issubdtype(value.dtype, np.integer):
            yield Weight("pulling_indices", value)
        else:
            yield Weight("kernel" if value.shape in shapes else "cluster_centroids", value)


def _replace(arrays: list[Weight], made: Tensor, done: set[int]) -> None:
    """Put a kernel in the place of the first one of its shape that isn't replaced yet."""
    for i, array in enumerate(arrays):
        if i not in done and array.value.shape == made.shape:
            arrays[i] = Weight(array.name, made)
            done.add(i)
            return
    raise InputError(
        f"a wrapper's mask or clusters of shape {made.shape} match no kernel of its layer",
        "the file is damaged, or of an unknown version of TFMOT",
    )
