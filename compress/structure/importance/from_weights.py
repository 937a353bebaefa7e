"""Criteria that look at the weights alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgepress.compress.structure.importance.evidence import Evidence
    from edgepress.compress.structure.tracing.groups import Group

Vector = NDArray[np.float64]
# Numbers that are looked at together: so many stay in a processor's cache.
_AT_ONCE = 1 << 16


def _norms(group: Group, evidence: Evidence, norm: Callable[[Any], Any]) -> Vector:
    """A norm of the weights that make each unit, coupled layers combined.

    Args:
        group: The group.
        evidence: Gives the weights.
        norm: From (positions, numbers) to (positions,).
    """
    parts = [evidence.per_unit(group, units, norm(rows)) for rows, units in evidence.makers(group)]
    return evidence.combine(parts)


def l1(group: Group, evidence: Evidence) -> Vector:
    """Sum of the absolute weights that make a unit.

    Source: Li et al., "Pruning filters for efficient ConvNets" (2017).
    """
    return _norms(group, evidence, _absolute_sums)


def _absolute_sums(rows: NDArray[np.float32]) -> Vector:
    """`np.abs(rows).sum(1)`, of a part of the numbers at a time, each in the same memory."""
    count, numbers = rows.shape
    step = max(1, _AT_ONCE // count)
    room = np.empty((min(step, numbers), count), rows.dtype).T
    sums = []
    for start in range(0, numbers, step):
        part = rows[:, start : start + step]
        sums.append(np.abs(part, out=room[:, : part.shape[1]]).sum(1))
    return np.sum(sums, axis=0, dtype=np.float64)


def l2(group: Group, evidence: Evidence) -> Vector:
    """Euclidean norm of the weights that make a unit.

    Source: He et al., "Soft filter pruning" (2018).
    """
    return _norms(group, evidence, lambda rows: np.sqrt((rows**2).sum(1)))


def bn_scale(group: Group, evidence: Evidence) -> Vector:
    """Absolute scale of the batch normalisation that a unit passes; L1 where there is none.

    Source: Liu et al., "Learning efficient convolutional networks through network slimming" (2017).
    """
    parts = [
        evidence.per_unit(group, units, np.abs(gamma)) for gamma, units in evidence.scales(group)
    ]
    return evidence.combine(parts) if parts else l1(group, evidence)


def fpgm(group: Group, evidence: Evidence) -> Vector:
    """Sum of the distances from a unit's weights to those of all others: near ones are redundant.

    Source: He et al., "Filter pruning via geometric median for deep convolutional neural networks
    acceleration" (2019).
    """

    def distances(rows: NDArray[np.float32]) -> Vector:
        rows = rows.astype(np.float64)
        squares = (rows**2).sum(1)
        gaps = squares[:, None] + squares[None] - 2 * rows @ rows.T
        return np.asarray(np.sqrt(np.maximum(gaps, 0)).sum(1))

    return _norms(group, evidence, distances)


def lamp(group: Group, evidence: Evidence) -> Vector:
    """A unit's share of the squared weights of those in its group that are at least as large.

    The last unit of every group scores 1, so a global ranking never empties one.

    Source: Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning" (2021), carried
    over from weights to units.
    """
    squares = l2(group, evidence) ** 2
    order = np.argsort(squares, kind="stable")
    above = np.cumsum(squares[order][::-1])[::-1]
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(above, 1e-30)
    return scores


def random(group: Group, evidence: Evidence) -> Vector:
    """Drawn from the seed: what every other criterion has to beat."""
    return np.asarray(evidence.random(group).random(group.size))
