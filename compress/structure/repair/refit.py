"""Least squares with a bend: the kernel whose outputs come nearest to wanted ones.

Where a rectifier follows, only what it lets through counts. An output that was cut off, and is
still cut off, may be anything, so its target is whatever the kernel gives now; one that should be
cut off and isn't is pulled to the bend only. Each round solves the same normal equations for such
targets, which can only bring the rectified outputs nearer.

Sources:
    Zhang, Zou, He and Sun, "Accelerating very deep convolutional networks for classification and
    detection" (2015), section 2.2, for responses behind a rectifier; Hunter and Lange, "A tutorial
    on MM algorithms" (2004), for rounds that majorise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
# Least pull of the refitted kernel towards the one that was cut, as a share of the mean energy of
# a feature; the fewer rows there are for each feature, the stronger the pull.
_RIDGE = 1e-3
_MOST_ROUNDS = 8
# Multiplications that the rounds of one layer may take.
_MOST_WORK = 4e11


@dataclass(frozen=True, eq=False)
class Bend:
    """What follows a product: `clip(factor x product + base, low, high)`.

    Attributes:
        factor: (outputs,) what each output is multiplied with; never 0.
        base: (rows, outputs) what is added to it.
        low: Below this everything counts as this.
        high: Above this everything counts as this.
    """

    factor: Matrix
    base: Matrix
    low: float
    high: float

    def part(self, columns: slice) -> Bend:
        """The same for some of the outputs."""
        return Bend(self.factor[columns], self.base[:, columns], self.low, self.high)

    def clipped(self, product: Matrix) -> Matrix:
        """What comes out for (…, rows, outputs)."""
        return np.clip(product * self.factor + self.base, self.low, self.high)

    def targets(self, wanted: Matrix, now: Matrix) -> Matrix:
        """What a product should be, given what it is now."""
        goal, here = (x * self.factor + self.base for x in (wanted, now))
        goal = np.where(goal <= self.low, np.minimum(here, self.low), goal)
        goal = np.where(goal >= self.high, np.maximum(here, self.high), goal)
        return np.asarray((goal - self.base) / self.factor)


def refit(
    inputs: Matrix,
    wanted: Matrix,
    kernel: Matrix,
    ridge: float | None = None,
    bend: Bend | None = None,
    intercept: bool = True,
    stays: NDArray[np.bool_] | None = None,
) -> tuple[Matrix, Matrix]:
    """The kernel and offset that come nearest to wanted outputs.

    Minimises `|inputs @ (kernel + change) + offset - wanted|² + ridge' |change|²` in closed form,
    with `ridge' = ridge x mean energy of a feature x rows`. Never farther from what is wanted than
    the kernel to start from.

    Args:
        inputs: (rows, features).
        wanted: (rows, outputs).
        kernel: (features, outputs) to start from.
        ridge: How strongly the kernel is held to where it starts; by default features / rows.
        bend: What follows; None where nothing does that hides errors.
        intercept: Whether there is an offset; otherwise it is 0.
        stays: (features, outputs) which elements of the kernel may change; None for all.

    Returns:
        (features, outputs) kernel, and (outputs,) offset.
    """
    if ridge is None:
        ridge = max(_RIDGE, inputs.shape[1] / len(inputs))
    middle = inputs.mean(0) if intercept else np.zeros(inputs.shape[1])
    centred = inputs - middle
    gram = centred.T @ centred
    hold = ridge * np.trace(gram) / len(gram) + 1e-9
    gram[np.diag_indices_from(gram)] += hold
    change = _solver(gram, stays)

    def offset_of(changed: Matrix, target: Matrix) -> Matrix:
        mean = target.mean(0) if intercept else np.zeros(target.shape[1])
        return np.asarray(mean - middle @ changed if intercept else mean)

    def solve(target: Matrix) -> tuple[Matrix, Matrix]:
        mean = target.mean(0) if intercept else 0.0
        changed = kernel + change(centred.T @ (target - mean - centred @ kernel))
        return changed, offset_of(changed, target)

    def miss(found: tuple[Matrix, Matrix]) -> float:
        now = inputs @ found[0] + found[1]
        if bend is None:
            return float(np.square(now - wanted).mean())
        return float(np.square(bend.clipped(now) - bend.clipped(wanted)).mean())

    start = kernel, offset_of(kernel, wanted)
    found = solve(wanted)
    for _ in range(0 if bend is None else rounds(inputs.size * wanted.shape[1])):
        assert bend is not None
        found = solve(bend.targets(wanted, inputs @ found[0] + found[1]))
    return found if miss(found) <= miss(start) else start


def _solver(gram: Matrix, stays: NDArray[np.bool_] | None) -> Callable[[Matrix], Matrix]:
    """Solves `gram @ change = right` for (features, outputs), elsewhere than `stays` with 0.

    Nothing changes where each output has elements of its own and that would take too long.
    """
    if stays is None or stays.all():
        inverse = np.linalg.inv(gram)
        return lambda right: np.asarray(inverse @ right)
    chosen = [np.flatnonzero(column) for column in stays.T]
    affordable = (1 + _MOST_ROUNDS) * sum(len(rows) ** 3 for rows in chosen) <= _MOST_WORK

    def solve(right: Matrix) -> Matrix:
        change = np.zeros_like(right)
        for output, rows in enumerate(chosen if affordable else ()):
            part = gram[np.ix_(rows, rows)]
            change[rows, output] = np.linalg.solve(part, right[rows, output])
        return change

    return solve


def rounds(work: int) -> int:
    """Rounds that a layer of so many multiplications a pass is worth."""
    return min(_MOST_ROUNDS, int(_MOST_WORK / (4 * max(work, 1))))
