"""How many weights each kernel gives so that together they reach the sparsity that was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from edgepress.compress.kernel.registry import Table
from edgepress.compress.weights.masks.masks import prefix_nearest


@dataclass(frozen=True)
class Kernel:
    """What an allocation knows of one kernel.

    Attributes:
        shape: (S, I, O) of its planes.
        sizes: (units,) weights in each unit.
        scores: (units,) importance of each unit.
    """

    shape: tuple[int, int, int]
    sizes: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]

    @property
    def weights(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape))


class Allocation(Protocol):
    """Shares a sparsity out among kernels."""

    def __call__(self, kernels: Sequence[Kernel], sparsity: float) -> list[int]:
        """Give the number of zeros of each kernel.

        Args:
            kernels: The kernels.
            sparsity: Share of all their weights to remove, 0 to 1.

        Returns:
            Zeros of each kernel, in their order; they sum to round(sparsity x weights), up to
            whole units.
        """


def uniform(kernels: Sequence[Kernel], sparsity: float) -> list[int]:
    """The same share of every kernel, as TensorFlow Model Optimization does."""
    return [round(sparsity * k.weights) for k in kernels]


def by_global_rank(kernels: Sequence[Kernel], sparsity: float) -> list[int]:
    """All units compete; each kernel keeps its best one, so that no layer is cut off."""
    return _rank(kernels, [k.scores for k in kernels], sparsity)


def lamp(kernels: Sequence[Kernel], sparsity: float) -> list[int]:
    """All units compete by their share in what would be left of their kernel.

    Source: Lee et al., Layer-adaptive sparsity for the magnitude-based pruning, arXiv 2010.07611.
    """
    return _rank(kernels, [_lamp_scores(k.scores) for k in kernels], sparsity)


def erdos_renyi_kernel(kernels: Sequence[Kernel], sparsity: float) -> list[int]:
    """Density in proportion to the sum of a kernel's dimensions over their product.

    Source: Evci et al., Rigging the Lottery, arXiv 1911.11134.
    """
    weights = np.array([k.weights for k in kernels], np.float64)
    raw = np.array([sum(k.shape) for k in kernels], np.float64)
    kept = (1 - sparsity) * weights.sum()
    full = np.zeros(len(kernels), bool)
    while True:
        room = kept - weights[full].sum()
        scale = room / raw[~full].sum() if (~full).any() else 0.0
        nonzero = np.where(full, weights, scale * raw)
        over = ~full & (nonzero > weights)
        if not over.any():
            return _round_to_total(weights - nonzero, round(sparsity * weights.sum()))
        full |= over


ALLOCATIONS: Table[Allocation] = Table(
    "allocation",
    {
        "uniform": uniform,
        "global": by_global_rank,
        "lamp": lamp,
        "erk": erdos_renyi_kernel,
    },
    "edgepress.weight_allocations",
)


def allocate(
    kernels: Mapping[str, Kernel],
    sparsity: float,
    allocation: str,
    overrides: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """The zeros of each kernel, those with a sparsity of their own left out of the sharing.

    Args:
        kernels: The kernels by path.
        sparsity: Share of the weights without override, 0 to 1.
        allocation: Name in `ALLOCATIONS`.
        overrides: Sparsity of single kernels by path.

    Returns:
        Number of zeros by path.
    """
    overrides = overrides or {}
    free = [path for path in kernels if path not in overrides]
    shared = ALLOCATIONS[allocation]([kernels[p] for p in free], sparsity) if free else []
    own = {p: round(overrides[p] * kernels[p].weights) for p in kernels if p in overrides}
    given = {**dict(zip(free, shared, strict=True)), **own}
    return {path: given[path] for path in kernels}


def _rank(
    kernels: Sequence[Kernel], scores: Sequence[Float[np.ndarray, " _"]], sparsity: float
) -> list[int]:
    sizes = np.concatenate([k.sizes for k in kernels])
    owner = np.repeat(np.arange(len(kernels)), [len(k.sizes) for k in kernels])
    best = np.cumsum([0, *(len(s) for s in scores[:-1])]) + [int(np.argmax(s)) for s in scores]
    order = np.argsort(np.concatenate(scores), kind="stable")
    order = order[~np.isin(order, best)]
    cut = order[: prefix_nearest(sizes[order], round(sparsity * sizes.sum()))]
    zeros = np.bincount(owner[cut], weights=sizes[cut], minlength=len(kernels))
    return [int(z) for z in zeros]


def _lamp_scores(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    order = np.argsort(scores, kind="stable")
    squares = scores[order] ** 2
    left = np.cumsum(squares[::-1])[::-1]
    result = np.empty(len(scores))
    result[order] = np.divide(squares, left, out=np.zeros_like(squares), where=left > 0)
    return result


def _round_to_total(values: Float[np.ndarray, " k"], total: int) -> list[int]:
    """Round to whole numbers of a given sum, the largest remainders up."""
    whole = np.floor(values + 1e-9).astype(np.int64)
    missing = total - int(whole.sum())
    order = np.argsort(whole - values, kind="stable")
    step = 1 if missing > 0 else -1
    for i in range(abs(missing)):
        whole[order[i % len(order)]] += step
    return [int(w) for w in whole]
