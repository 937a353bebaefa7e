"""How far an output is from what it should be, in the unit that a precision bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.quantize.precision import Precision

# What differs by more than a hundredth is wrong, however a network rounds.
ROUNDING_LIMIT = 0.01


def departure(got: NDArray[Any], want: NDArray[Any], precision: Precision) -> float:
    """How far one output is from what it should be.

    Args:
        got: The output.
        want: What it should be, of the same shape.
        precision: Says in which unit.

    Returns:
        The error that the precision bounds; infinite where the output is no number.
    """
    exact = want.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - exact)
    return bounded_error(difference, exact, want.dtype.kind != "f", precision)


def bounded_error(
    difference: NDArray[Any], want: NDArray[Any], whole: bool, precision: Precision
) -> float:
    """The error of an output; none where it holds whole numbers of which nearly all are equal."""
    if whole and _same_choices(difference, precision):
        return 0.0
    return _relative(difference, want, precision)


def _same_choices(difference: NDArray[Any], precision: Precision) -> bool:
    """Whether nearly all whole numbers are equal.

    Of the indices that an argmax gives, how far apart two are says nothing.
    """
    return float(difference.astype(bool).mean()) <= precision.max_drop


def largest_error(difference: NDArray[Any], want: NDArray[Any]) -> float:
    """The largest difference over the largest output; infinite where one is no number."""
    error = float(difference.max(initial=0)) / largest_output(want)
    return error if np.isfinite(error) else float("inf")


def _relative(difference: NDArray[Any], want: NDArray[Any], precision: Precision) -> float:
    """The error that the precision bounds, in units of the source's outputs."""
    if precision.bounded == "largest":
        return largest_error(difference, want)
    # Outputs that hardly vary would make any rounding look large.
    spread = max(float(np.std(want)), 0.05 * largest_output(want))
    error = float(np.sqrt(np.mean(np.square(difference)))) / spread
    return error if np.isfinite(error) else float("inf")


def largest_output(want: NDArray[Any]) -> float:
    """The largest absolute value of an output, at least 1e-7."""
    return max(float(np.abs(want).max(initial=0)), 1e-7)
