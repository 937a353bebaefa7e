"""Kernels rounded to a few bits: the grid of the least error, and rounding that minds the inputs.

Rounding to the nearest level minimises the error of the weights; what counts is that of the
outputs. With the second moments H of a layer's inputs it is trace(E H E'), E the error of the
weights. Input by input each weight is rounded, and those still to come take over what it cost.

Source: Frantar et al., GPTQ, arXiv 2210.17323; Frantar and Alistarh, Optimal Brain Compression,
arXiv 2208.11580.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Shares of an output's largest weight that are tried as the end of its grid.
_ENDS = np.linspace(0.5, 1.0, 11)
_FINE_ENDS = np.linspace(0.3, 1.0, 71)
_DAMPING = 0.01


def nearest(rows: Array, levels: int) -> tuple[Array, Array]:
    """Whole numbers and scales of the least squared error of the weights.

    Args:
        rows: (outputs, weights of each).
        levels: How many there are on each side of zero.

    Returns:
        (outputs, weights) whole numbers from -levels to levels, and (outputs,) scales.
    """
    ends = _FINE_ENDS if levels < 64 else _ENDS[-1:]
    return _best(rows, levels, ends, None)


def minding_inputs(rows: Array, moments: Array, levels: int) -> tuple[Array, Array]:
    """Whole numbers and scales of the least error of the outputs that the method finds.

    Args:
        rows: (outputs, weights of each).
        moments: (weights, weights) second moments of what the weights are multiplied with.
        levels: How many there are on each side of zero.

    Returns:
        As `nearest`.
    """
    spread = np.diag(moments)
    damped = moments + (_DAMPING * spread.mean() + 1e-12) * np.eye(len(moments))
    return _best(rows, levels, _ENDS, damped)


def _best(
    rows: Array,
    levels: int,
    ends: Array,
    moments: Array | None,
) -> tuple[Array, Array]:
    rows = rows.astype(np.float64)
    largest = np.abs(rows).max(1, initial=0.0)
    found = np.zeros_like(rows)
    scales = np.ones(len(rows))
    least = np.full(len(rows), np.inf)
    passing = None if moments is None else _passing_on(moments)
    for share in ends:
        # As floats of 32 bits hold them.
        end = np.where(largest > 0, share * largest / levels, 1.0)
        tried = end.astype(np.float32).astype(np.float64)
        if passing is None:
            made = _rounded(rows, tried[:, None], levels)
        else:
            made = _in_turn(rows, tried, levels, *passing)
        error = made * tried[:, None] - rows
        cost = ((error if moments is None else error @ moments) * error).sum(1)
        better = cost < least
        found[better], scales[better], least[better] = made[better], tried[better], cost[better]
    return found, scales


def _rounded(rows: Array, scales: Array, levels: int) -> Array:
    return np.clip(np.rint(rows / scales), -levels, levels)


def _passing_on(moments: Array) -> tuple[NDArray[np.intp], Array]:
    """The order of the inputs, the strongest first, and what each passes on to those after it."""
    order = np.argsort(-np.diag(moments), kind="stable")
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    return order, factor.astype(np.float64)


def _in_turn(
    rows: Array,
    scales: Array,
    levels: int,
    order: NDArray[np.intp],
    factor: Array,
) -> Array:
    left = rows[:, order].copy()
    made = np.empty_like(left)
    for place in range(left.shape[1]):
        made[:, place] = np.clip(np.rint(left[:, place] / scales), -levels, levels)
        cost = (left[:, place] - made[:, place] * scales) / factor[place, place]
        left[:, place + 1 :] -= np.outer(cost, factor[place, place + 1 :])
    found = np.empty_like(made)
    found[:, order] = made
    return found
