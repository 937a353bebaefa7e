"""Masks: which weights stay, decided from scores by pure functions on NumPy arrays.

A granularity says which weights are removed together (a *unit*). An allocation (`densities`) says
how many weights each kernel gives. Here the two meet: the units of lowest score go first, ties by
position, until exactly the number asked for is gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import Table

# Inputs of the blocks that LiteRT's kernel for dense layers with encoded zeros reads, and the share
# of zeros from which on it is faster than the dense product
# (benchmarks/studies/pruning/sparse_speed.py).
FAST_BLOCK, FAST_FROM = 4, 0.8


@dataclass(frozen=True)
class Mask:
    """What stays of one kernel.

    Attributes:
        path: The kernel's path.
        array: True where the weight stays; the kernel's shape.
        pattern: "weights", "blocks 1x4", "nm 2:4" or "kernels".
    """

    path: str
    array: Bool[np.ndarray, "..."]
    pattern: str

    @property
    def zeros(self) -> int:
        """Number of weights removed."""
        return int(self.array.size - np.count_nonzero(self.array))


@dataclass(frozen=True)
class Units:
    """The weights of one kernel in groups that are removed together.

    Attributes:
        index: (S, I, O) unit of each weight, 0 to n - 1.
        pool: (n,) pool in which each unit competes, or None for a single one.
        quota: (pools,) units removed in each pool where the pattern fixes it, else None.
    """

    index: Int[np.ndarray, "s i o"]
    pool: Int[np.ndarray, " n"] | None = None
    quota: Int[np.ndarray, " p"] | None = None

    def sizes(self) -> Int[np.ndarray, " n"]:
        """Weights in each unit."""
        return np.bincount(self.index.ravel())

    def scores(self, scores: Float[np.ndarray, "s i o"]) -> Float[np.ndarray, " n"]:
        """Mean of the scores of each unit's weights."""
        total = np.bincount(self.index.ravel(), weights=scores.ravel().astype(np.float64))
        return total / self.sizes()


class Granularity(Protocol):
    """Groups the weights of a kernel into units."""

    def __call__(self, shape: tuple[int, int, int], pattern: str) -> Units:
        """Give the units.

        Args:
            shape: (S, I, O) of the kernel's planes.
            pattern: What the granularity is told: "1x4" for blocks, "2:4" for N:M.
        """


def single_weights(shape: tuple[int, int, int], pattern: str) -> Units:
    """Every weight by itself."""
    del pattern
    return Units(np.arange(np.prod(shape)).reshape(shape))


def blocks(shape: tuple[int, int, int], pattern: str) -> Units:
    """Blocks of r inputs by c outputs at each position; those at the edge may be smaller.

    Source: Narang et al., Block-Sparse Recurrent Neural Networks, arXiv 1711.02782.
    """
    rows, columns = parse_block(pattern)
    s, i, o = np.ogrid[: shape[0], : shape[1], : shape[2]]
    high, wide = -(-shape[1] // rows), -(-shape[2] // columns)
    return Units(np.broadcast_to((s * high + i // rows) * wide + o // columns, shape))


def n_of_m(shape: tuple[int, int, int], pattern: str) -> Units:
    """At most n weights stay of every m in a row along the inputs; a shorter rest keeps n too.

    Source: Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv 2104.08378.
    """
    kept, group = parse_n_of_m(pattern)
    s, i, o = np.ogrid[: shape[0], : shape[1], : shape[2]]
    groups = -(-shape[1] // group)
    pool = np.broadcast_to((s * groups + i // group) * shape[2] + o, shape).ravel()
    index = np.arange(np.prod(shape)).reshape(shape)
    return Units(index, pool, np.maximum(np.bincount(pool) - kept, 0))


def whole_kernels(shape: tuple[int, int, int], pattern: str) -> Units:
    """The k x k slice from one input to one output."""
    del pattern
    plane = np.arange(shape[1] * shape[2]).reshape(1, shape[1], shape[2])
    return Units(np.broadcast_to(plane, shape))


GRANULARITIES: Table[Granularity] = Table(
    "granularity",
    {
        "weights": single_weights,
        "blocks": blocks,
        "nm": n_of_m,
        "kernels": whole_kernels,
    },
    "edgepress.granularities",
)


def parse_block(pattern: str) -> tuple[int, int]:
    """Read "1x4" as (inputs, outputs) of a block.

    Raises:
        InputError: It is none.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", pattern)
    if not match:
        raise InputError(f"block '{pattern}' is not of the form 1x4 (inputs x outputs)")
    return int(match[1]), int(match[2])


def parse_n_of_m(pattern: str) -> tuple[int, int]:
    """Read "2:4" as (weights that stay, of how many).

    Raises:
        InputError: It is none, or would keep all.
    """
    match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", pattern)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(
            f"pattern '{pattern}' is not of the form 2:4", "2:4 keeps 2 of every 4 weights"
        )
    return int(match[1]), int(match[2])


def n_of_m_for(sparsity: float) -> str:
    """The smallest N:M pattern (m a power of two up to 16) with exactly this sparsity.

    Raises:
        InputError: There is none.
    """
    for group in (4, 8, 16):
        removed = sparsity * group
        if abs(removed - round(removed)) < 1e-9:
            return f"{group - round(removed)}:{group}"
    raise InputError(
        f"no N:M pattern up to 16 has the sparsity {sparsity}",
        "0.5 is 2:4, 0.75 is 1:4, 0.625 is 3:8; or name a pattern",
    )


def keep_highest(
    units: Units, scores: Float[np.ndarray, "s i o"], zeros: int
) -> Bool[np.ndarray, "s i o"]:
    """Remove the units of lowest score.

    Args:
        units: Units of the kernel.
        scores: (S, I, O) importance of each weight.
        zeros: Weights to remove; the nearest number that whole units allow is removed. Not used
            where the pattern fixes a quota.

    Returns:
        (S, I, O), True where the weight stays.
    """
    unit_scores = units.scores(scores)
    if units.quota is not None and units.pool is not None:
        return _keep_by_quota(unit_scores, units.pool, units.quota)[units.index]
    order = np.argsort(unit_scores, kind="stable")
    keep = np.ones(len(order), bool)
    keep[order[: prefix_nearest(units.sizes()[order], zeros)]] = False
    return keep[units.index]


def prefix_nearest(sizes: Int[np.ndarray, " n"], total: int) -> int:
    """How many leading entries sum to the number nearest to `total` (the smaller on a tie)."""
    sums = np.concatenate([[0], np.cumsum(sizes)])
    return int(np.argmin(np.abs(sums - total)))


def _keep_by_quota(
    scores: Float[np.ndarray, " n"], pool: Int[np.ndarray, " n"], quota: Int[np.ndarray, " p"]
) -> Bool[np.ndarray, " n"]:
    order = np.lexsort((scores, pool))
    first = np.concatenate([[0], np.cumsum(np.bincount(pool))[:-1]])
    rank = np.arange(len(order)) - first[pool[order]]
    keep = np.empty(len(order), bool)
    keep[order] = rank >= quota[pool[order]]
    return keep


def count_zeros(arrays: Sequence[Float[np.ndarray, "..."]]) -> tuple[int, int]:
    """(zeros, weights) over some arrays."""
    # NumPy counts what is true several times faster than floats that aren't zero.
    zeros = sum(a.size - int(np.count_nonzero(a != 0)) for a in arrays)
    return zeros, sum(a.size for a in arrays)


def is_within(inner: Mapping[str, Mask], outer: Mapping[str, Mask]) -> bool:
    """Whether every weight that `inner` keeps is kept by `outer`."""
    return all(not np.any(inner[p].array & ~outer[p].array) for p in inner)
