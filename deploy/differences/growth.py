"""Whether the error of values grows by more than rounding explains: as scores fall, errors grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.quantize.precision import Precision

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]
# Metrics of squared differences; others are taken by the mean absolute error.
SQUARED = frozenset({"mse", "rmse", "psnr", "r2"})
# A network whose error is below a hundredth of what its targets spread over has nothing to lose
# but to the file's own rounding, which the noise bounds; targets that are its own outputs are such.
_PERFECT = 0.01
# However small an error is: from here on it is no longer that of the network.
_MOST = 0.5
_CONFIDENCE = 0.95


def grown_error(
    name: str, have: Array, want: Array, targets: Nested, metric: str, precision: Precision
) -> str:
    """Why the error of one output is too large; empty where it isn't.

    Args:
        name: Of the output.
        have: What the file gives, (n, …).
        want: What the source gives.
        targets: What should come out.
        metric: Says whether differences are squared.
        precision: Has the bound.
    """
    truth = np.asarray(targets)
    if truth.size != want.size or truth.dtype.kind not in "fiub":
        return ""
    truth = truth.reshape(want.shape).astype(np.float64)
    squared = metric in SQUARED
    before, after = (_by_sample(a.astype(np.float64) - truth, squared) for a in (want, have))
    size = float(truth.std())
    root = np.sqrt if squared else float
    was, became = float(root(before.mean())), float(root(after.mean()))
    if size <= 0 or was < _PERFECT * size:
        return ""
    # Independent errors add in squares.
    allowed = float(np.hypot(was * (1 + precision.max_growth), precision.step * size))
    allowed = min(allowed, was * (1 + max(_MOST, 2 * precision.max_growth)))
    explained = float(np.square(allowed) if squared else allowed) - float(before.mean())
    if became <= allowed or _lower_end(after - before) <= explained / 2:
        return ""
    error_name = "root mean square error" if squared else "mean absolute error"
    return (
        f"output '{name}': its {error_name} grows by {became / was - 1:.0%}, from {was:.4g} to"
        f" {became:.4g}: rounding to {precision.name} explains at most {allowed:.4g}"
    )


def error_holds(have: Array, want: Array, targets: Array, precision: Precision) -> bool:
    """Whether targets show that a part of an output is as far from them as the source's is.

    Args:
        have: What the file gives, (n, …).
        want: What the source gives.
        targets: What should come out, of the same shape.
        precision: Has the bound.

    Returns:
        False also where the source has no error, against which none could be held.
    """
    truth = targets.astype(np.float64)
    was, became = (float(np.sqrt(np.mean(np.square(a - truth)))) for a in (want, have))
    size = max(float(want.std()), float(truth.std()))
    return was >= _PERFECT * size and became <= was * (1 + precision.max_growth)


def _by_sample(difference: Array, squared: bool) -> Array:
    sizes = np.square(difference) if squared else np.abs(difference)
    return np.asarray(sizes.reshape(len(sizes), -1).mean(1))


def _lower_end(changes: Array) -> float:
    """Lower end of the mean change, from paired samples (Student's t); one sample shows nothing."""
    from scipy.stats import t

    if len(changes) < 2:
        return -np.inf
    error = float(changes.std(ddof=1)) / np.sqrt(len(changes))
    return float(changes.mean()) - float(t.ppf(_CONFIDENCE, len(changes) - 1)) * error
