"""What a file no longer tells: values that are one and the same, samples that are drowned.

Over a whole output both may stay below a bound on its error. So two questions are asked beside it:

- does a place, a channel or a sample that varies in the source by more than the number format's
  step hold one value in the file? Rounding moves values, it doesn't make them equal;
- where a few samples are far larger than most, is what most of them give still there?
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.differences.difference import ROUNDING_LIMIT, largest_error, noise
from edgepress.deploy.differences.slices import APART, Slices, spread
from edgepress.deploy.quantize.precision import Precision

Floats = NDArray[np.float64]
# What keeps less than this share of its spread is one value.
_LEFT = 0.05
# With fewer values, chance may make them equal.
_FEWEST = 8
# Of samples of fewer values than that, the share that chance may make equal.
_BY_CHANCE = 0.05
# Most samples are far smaller than the others: at least so many of them.
_MOST = 0.5
_MOSTLY_ZERO = 0.9
# A difference of the size of the values' own spread leaves nothing of them.
_DROWNED = 1.0


def collapsed(have: Floats, want: Floats, precision: Precision, one_unit: bool) -> list[Slices]:
    """Places and samples that hold one value in a file, and several in its source.

    Args:
        have: (n, …) what the file gives.
        want: (n, …) what the source gives.
        precision: Says what its rounding may make equal.
        one_unit: Whether slices of a small range mean nothing, see `slices`.
    """
    probable = bool(want.size) and float(want.min()) >= 0 and float(want.max()) <= 1 + 1e-6
    unit = 1.0 if probable else float(np.abs(want).max(initial=0))
    found = []
    for axis in range(1, want.ndim):
        others = tuple(a for a in range(want.ndim) if a != axis)
        if want.size // want.shape[axis] < _FEWEST:
            continue
        varies = want.std(others) > precision.resolution * unit
        if not one_unit:
            varies |= _rare_and_small(want, axis)
        found.append((axis, varies & _is_flat(have, want, others)))
    found.append((0, _flat_samples(have, want)))
    last = want.ndim - 1
    return [
        Slices(axis, tuple(int(i) for i in np.flatnonzero(lost)), axis == last > 0)
        for axis, lost in found
        if lost.any()
    ]


def _is_flat(have: Floats, want: Floats, others: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(have.std(others) < _LEFT * want.std(others))


def _rare_and_small(want: Floats, axis: int) -> NDArray[np.bool_]:
    """Slices of a small range that are zero but for some values: scores of what is seldom found."""
    others = tuple(a for a in range(want.ndim) if a != axis)
    filled = np.count_nonzero(want, others)
    rare = (filled >= _FEWEST) & (filled <= (1 - _MOSTLY_ZERO) * want.size / want.shape[axis])
    return np.asarray(rare & (want.std(others) < spread(want) / APART))


def _flat_samples(have: Floats, want: Floats) -> NDArray[np.bool_]:
    """Samples of which a file gives one value: zeros behind a batch that wasn't full."""
    rows, kept = (a.reshape(len(a), -1) for a in (want, have))
    width = rows.shape[1]
    telling = rows.std(1) > spread(want) / 2
    lost = np.asarray(telling & (kept.std(1) < _LEFT * rows.std(1)))
    few = width < _FEWEST and (lost.sum() < 2 or lost.sum() <= _BY_CHANCE * telling.sum())
    return np.zeros_like(lost) if width < 2 or few else lost


def drowned(
    have: Floats, want: Floats, precision: Precision, one_unit: bool
) -> tuple[NDArray[np.bool_], float] | None:
    """Most samples, where a few that are far larger hide what became of them.

    Args:
        have: (n, …) what the file gives.
        want: (n, …) what the source gives.
        precision: Says in which unit errors are.
        one_unit: Whether slices of a small range mean nothing, see `slices`.

    Returns:
        (n,) which samples those are, and their error; None where nothing is hidden, or is lost.
    """
    sizes = np.abs(want.reshape(len(want), -1)).max(1)
    small = sizes < spread(want) / APART
    if small.sum() < max(_FEWEST, _MOST * len(want)):
        return None
    most, difference = want[small], np.abs(have[small] - want[small])
    if float(np.mean(most == 0)) >= _MOSTLY_ZERO or not np.isfinite(have).all():
        return None
    if precision.bounded == "largest":
        error = largest_error(difference, most)
        return (small, error) if error > max(precision.tolerance, ROUNDING_LIMIT) else None
    probable = float(want.min()) >= 0 and float(want.max()) <= 1 + 1e-6
    error = noise(difference, most)
    return (small, error) if error > _DROWNED and not (one_unit or probable) else None
