"""The table of precisions and the bounds that their verification uses.

How the bounds were chosen. A file that is *wrong* (weights lost, inputs swapped, clipped
calibration, NaN) differs from its source by about the size of the outputs themselves; a file that
is *rounded* differs by what its number format costs. Each bound lies well above the rounding that
was seen on real networks and well below the size of the outputs:

- float32: only the order of additions differs. Seen: up to 5e-6 of the largest output.
- float16: weights keep 11 bits. Seen: up to 5e-4.
- 8 bits and fewer: a single sample near a decision may flip, so the largest difference says
  nothing; bounded is the noise, the root mean square of the differences over that of the outputs
  about their mean. Seen for int8: 0.01 to 0.1 (40 to 20 dB); a bound of 0.35 is 9 dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgepress.compress.registry import Table

Bounded = Literal["largest", "noise"]
# How int8 ranges are taken from samples; "auto" tries the others.
Method = Literal["min-max", "percentile", "mse", "entropy", "auto"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class Precision:
    """How numbers are stored in an artifact.

    Attributes:
        name: Its name on the command line.
        calibrated: Whether the ranges of activations are taken from samples.
        bounded: Which error the tolerance bounds: the largest difference over the source's
            largest output, or the noise (see the module).
        tolerance: The bound.
        max_drop: Largest fall of a score (accuracy, IoU, …) that rounding explains, as a share
            of 1; a larger one is a failed verification.
        about: One line for people.
    """

    name: str
    calibrated: bool
    bounded: Bounded
    tolerance: float
    max_drop: float
    about: str


_ALL = (
    Precision("float32", False, "largest", 1e-4, 0.005, "weights and arithmetic in 32-bit floats"),
    Precision("float16", False, "largest", 2e-2, 0.01, "weights in 16-bit floats"),
    Precision(
        "dynamic", False, "noise", 0.35, 0.1, "int8 weights, activations quantised on the go"
    ),
    Precision("int8", True, "noise", 0.35, 0.1, "int8 weights and activations"),
    Precision("int16x8", True, "noise", 0.2, 0.05, "int8 weights, int16 activations"),
    Precision("int8-weights", False, "noise", 0.35, 0.1, "int8 weights, float arithmetic"),
    Precision("int4-weights", False, "noise", 0.7, 0.1, "int4 weights, float arithmetic"),
)

PRECISIONS: Table[Precision] = Table(
    "precision", {precision.name: precision for precision in _ALL}, "edgepress.precisions"
)
