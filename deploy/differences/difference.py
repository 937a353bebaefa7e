"""How far an output is from what it should be, in the unit that a precision bounds.

The noise of values is the root mean square of their differences over that of the source's values
about their mean. It is the one definition for verdicts, the notes of trials and layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.differences.slices import Slices, cut, small_slices, spread
from edgepress.deploy.quantize.precision import Precision

# What differs by more than a hundredth is wrong, however a network rounds.
ROUNDING_LIMIT = 0.01


def departure(got: NDArray[Any], want: NDArray[Any], precision: Precision) -> float:
    """How far one output is from what it should be: the worst of the whole and its small slices.

    Args:
        got: The output.
        want: What it should be, of the same shape.
        precision: Says in which unit.

    Returns:
        The error that the precision bounds; infinite where the output is no number.
    """
    exact = want.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - exact)
    whole = want.dtype.kind != "f"
    slices = () if whole else small_slices(exact)
    return worst_error(difference, exact, whole, precision, slices)


def worst_error(
    difference: NDArray[Any],
    want: NDArray[Any],
    whole: bool,
    precision: Precision,
    slices: Sequence[Slices],
) -> float:
    """The error of an output or of those of its slices that have a range of their own."""
    parts = [
        bounded_error(cut(difference, part), cut(want, part), False, precision) for part in slices
    ]
    return max([bounded_error(difference, want, whole, precision), *parts])


def bounded_error(
    difference: NDArray[Any], want: NDArray[Any], whole: bool, precision: Precision
) -> float:
    """The error of an output; none where it holds whole numbers of which nearly all are equal."""
    if whole and _same_choices(difference, precision):
        return 0.0
    if precision.bounded == "largest":
        return largest_error(difference, want)
    return noise(difference, want)


def _same_choices(difference: NDArray[Any], precision: Precision) -> bool:
    """Whether nearly all whole numbers are equal.

    Of the indices that an argmax gives, how far apart two are says nothing.
    """
    return float(difference.astype(bool).mean()) <= precision.max_drop


def noise(difference: NDArray[Any], want: NDArray[Any], least: float = 0.0) -> float:
    """Root mean square of the differences over the spread of what should be; see `spread`.

    Args:
        difference: Of the same shape as `want`.
        want: What the values should be.
        least: A spread that `want` is held to have at least.

    Returns:
        The noise; infinite where a difference is no number.
    """
    size = float(np.sqrt(np.mean(np.square(difference.astype(np.float64)))))
    error = size / max(spread(want), least)
    return error if np.isfinite(error) else float("inf")


def largest_error(difference: NDArray[Any], want: NDArray[Any]) -> float:
    """The largest difference over the largest output; infinite where one is no number."""
    error = float(difference.max(initial=0)) / largest_output(want)
    return error if np.isfinite(error) else float("inf")


def largest_output(want: NDArray[Any]) -> float:
    """The largest absolute value of an output; 1e-7 where all are 0."""
    return float(np.abs(want).max(initial=0)) or 1e-7
