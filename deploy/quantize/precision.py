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

A single channel of an output may be noisier than the whole, whose other channels even it out: up to
twice the bound, of a spread of at least half that of the whole. What is wrong in one channel (zero,
negated, four times too large) has a noise of 1 or more.

A class may lose as much as a score over all, plus what chance does to its few samples: it fails
where it lost more than `max_drop` and where, with 95 % confidence for all classes at once, at least
half of `max_drop` is no chance.

The error of values (mean absolute, root mean square) may grow by `max_growth`: rounding adds to a
network's own error in squares, and noise of two thirds of that error adds a fifth. In squares, too,
comes `step`, the share of the targets' spread that rounding the output itself costs: for values
that spread over a fifth of their range, an int8 step is 0.02 of the spread. A keypoint network with
an error of 0.03 of the spread grew by 27 % so; 40 % are explained, 53 % are not, nor is any growth
by more than half (by twice `max_growth` where that is more). Published figures:
MLPerf Tiny's anomaly detector grows by 4 % of its root mean square error in int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgepress.compress.kernel.registry import Table

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
        max_growth: Largest growth of an error (mean absolute, root mean square) that rounding
            explains, as a share of it.
        step: Error that rounding the outputs themselves explains, as a share of the spread of the
            targets.
        resolution: Share of an output's largest value by which values may differ that its rounding
            makes equal: two steps.
        rounded_by_samples: Whether its weights are rounded with a view to samples, where there are
            any.
    """

    name: str
    calibrated: bool
    bounded: Bounded
    tolerance: float
    max_drop: float
    about: str
    max_growth: float = 0.2
    step: float = 0.02
    resolution: float = 2 / 255
    rounded_by_samples: bool = False

    @property
    def channel_tolerance(self) -> float:
        """The bound on the noise of a single channel."""
        return 2 * self.tolerance


_ALL = (
    Precision(
        "float32",
        False,
        "largest",
        1e-4,
        0.005,
        "weights and arithmetic in 32-bit floats",
        0.005,
        1e-4,
        1e-6,
    ),
    Precision(
        "float16", False, "largest", 2e-2, 0.01, "weights in 16-bit floats", 0.02, 1e-3, 1e-3
    ),
    Precision(
        "dynamic", False, "noise", 0.35, 0.1, "int8 weights, activations quantised on the go"
    ),
    Precision("int8", True, "noise", 0.35, 0.1, "int8 weights and activations"),
    Precision("int16x8", True, "noise", 0.2, 0.05, "int8 weights, int16 activations", 0.1),
    Precision("int8-weights", False, "noise", 0.35, 0.1, "int8 weights, float arithmetic"),
    Precision(
        "int4-weights",
        False,
        "noise",
        0.7,
        0.1,
        "int4 weights, float arithmetic",
        0.5,
        0.04,
        2 / 15,
        rounded_by_samples=True,
    ),
)

PRECISIONS: Table[Precision] = Table(
    "precision", {precision.name: precision for precision in _ALL}, "edgepress.precisions"
)
