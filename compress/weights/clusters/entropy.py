"""How small the weights could be stored: the entropy of their values, kernel by kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
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
    return _entropy(value_counts(values))


def _entropy(counts: Shaped[np.ndarray, " n"]) -> float:
    if not counts.size:
        return 0.0
    share = counts / counts.sum()
    return float(max(0.0, -(share * np.log2(share)).sum()))


def value_counts(
    values: Shaped[np.ndarray, "..."], at_once: int = 2**22
) -> Shaped[np.ndarray, " n"]:
    """How often each distinct value of an array occurs, in the order of the values.

    Large arrays are sorted range by range, so that they are never copied as a whole.

    Args:
        values: Any numbers.
        at_once: About how many values are sorted at a time.
    """
    flat = values.reshape(-1)
    if flat.size <= at_once:
        return np.unique(flat, return_counts=True)[1]
    sample = np.sort(flat[:: max(1, flat.size // 2**16)])
    places = np.linspace(0, len(sample) - 1, flat.size // at_once + 2)[1:-1].astype(int)
    ends = [None, *np.unique(sample[places][~np.isnan(sample[places])]), None]
    found = [
        np.unique(_between(flat, low, high, at_once), return_counts=True)[1]
        for low, high in pairwise(ends)
    ]
    missing = flat.size - sum(int(counts.sum()) for counts in found)
    return np.concatenate([*found, [missing]] if missing else found)  # what is no number


def _between(
    flat: Shaped[np.ndarray, " n"], low: Any, high: Any, at_once: int
) -> Shaped[np.ndarray, " m"]:
    """The values from `low` up to, not including, `high`; None is no limit."""
    parts = []
    for begin in range(0, flat.size, at_once):
        part = flat[begin : begin + at_once]
        inside = part == part
        if low is not None:
            inside &= part >= low
        if high is not None:
            inside &= part < high
        parts.append(part[inside])
    return np.concatenate(parts)


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
        value = kernel.seen()
        zeros = int(value.size - np.count_nonzero(value))
        counts = value_counts(value)
        bounds.append(
            EntropyBound(
                kernel.path, kernel.layer_path, kernel.size, zeros, len(counts), _entropy(counts)
            )
        )
    return tuple(bounds)
