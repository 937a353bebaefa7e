"""How small the weights could be stored: the entropy of their values, kernel by kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from edgepress.compress.weights.masks.prunable import find_kernels


@dataclass(frozen=True)
class EntropyBound:
    """What one kernel takes when each value is coded by its frequency.

    Attributes:
        path: The kernel's path.
        layer_path: Its layer's.
        weights: Number of weights.
        zeros: How many of them are zero.
        distinct: Number of distinct values.
        bits_per_weight: Entropy of the values.
    """

    path: str
    layer_path: str
    weights: int
    zeros: int
    distinct: int
    bits_per_weight: float

    @property
    def bytes(self) -> int:
        """Bytes of the coded weights and of the table of values (4 bytes each)."""
        return -(-int(self.weights * self.bits_per_weight) // 8) + 4 * self.distinct


def entropy(values: Shaped[np.ndarray, "..."]) -> float:
    """Bits for each value of an array, if each is coded by how often it occurs.

    Source: Shannon, A Mathematical Theory of Communication (1948), section 6.
    """
    if not values.size:
        return 0.0
    _, counts = np.unique(values, return_counts=True)
    share = counts / values.size
    return float(max(0.0, -(share * np.log2(share)).sum()))


def entropy_bounds(model: Any) -> tuple[EntropyBound, ...]:
    """The bound of every kernel of a model.

    Coders that look at values one by one can't do better; gzip, which sees bytes, comes near it
    only where values repeat, as after pruning, clustering or quantisation.

    Args:
        model: A built Keras model.

    Returns:
        One bound for each kernel, in the order of the layers.
    """
    bounds = []
    for kernel in find_kernels(model, depthwise=True)[0]:
        value = kernel.value()
        zeros = int(value.size - np.count_nonzero(value))
        distinct = len(np.unique(value))
        bounds.append(
            EntropyBound(
                kernel.path, kernel.layer_path, kernel.size, zeros, distinct, entropy(value)
            )
        )
    return tuple(bounds)
