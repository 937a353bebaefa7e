"""How small the weights could be stored: the entropy of their values, kernel by kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from edgepress.compress.weights.masks.prunable import find_kernels

if TYPE_CHECKING:
    import keras


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
    return _coded(values)[1]


def _coded(values: Shaped[np.ndarray, "..."]) -> tuple[int, float]:
    """How many distinct values an array has, and its entropy in bits per value."""
    distinct, bits = 0, 0.0
    for counts in counted_parts(values):
        share = counts / values.size
        distinct += len(counts)
        bits -= float((share * np.log2(share)).sum())
    return distinct, max(0.0, bits)


def counted_parts(
    values: Shaped[np.ndarray, "..."], at_once: int = 2**21
) -> Iterator[Shaped[np.ndarray, " n"]]:
    """How often each distinct value of an array occurs, in the order of the values.

    Large arrays are sorted range by range, and the ranges given one by one, so that an array is
    never copied as a whole.

    Args:
        values: Any numbers.
        at_once: About how many values are sorted at a time.
    """
    flat = values.reshape(-1)
    if flat.size <= at_once:
        yield np.unique(flat, return_counts=True)[1]
        return
    sample = np.sort(flat[:: max(1, flat.size // 2**16)])
    places = np.linspace(0, len(sample) - 1, flat.size // at_once + 2)[1:-1].astype(int)
    ends = [None, *np.unique(sample[places][~np.isnan(sample[places])]), None]
    missing = flat.size
    for low, high in pairwise(ends):
        counts = np.unique(_between(flat, low, high, at_once), return_counts=True)[1]
        missing -= int(counts.sum())
        yield counts
    if missing:
        yield np.array([missing])  # what is no number


def _between(
    flat: Shaped[np.ndarray, " n"], low: float | None, high: float | None, at_once: int
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


def entropy_bounds(model: keras.Model) -> tuple[EntropyBound, ...]:
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
        distinct, bits = _coded(value)
        bounds.append(
            EntropyBound(kernel.path, kernel.layer_path, kernel.size, zeros, distinct, bits)
        )
    return tuple(bounds)
