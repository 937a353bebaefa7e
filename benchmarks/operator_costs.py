"""What each operator of an artifact costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OperatorCost:
    """One operator.

    Attributes:
        name: Its output.
        operator: Its kind.
        ms: Its time.
        share: Of the sum over all operators.
        macs: Multiply-accumulates, where it is of a kind that has them.
        gflops: Achieved, two for each MAC.
        of_peak: The share of the device's measured best that this is.
        bound: "compute" or "memory", or None where its MACs aren't known.
    """

    name: str
    operator: str
    ms: float
    share: float
    macs: int | None = None
    gflops: float | None = None
    of_peak: float | None = None
    bound: str | None = None


@dataclass(frozen=True)
class Profile:
    """An artifact by operator.

    Attributes:
        artifact: The file.
        method: How it was got.
        whole_ms: The whole file's time, measured beside.
        operators: In the order in which they run.
        peak: The machine's measured best: "gflops" and "gbytes_per_s"; empty where unknown.
        notes: Remarks, one line each.
        device: Where it ran.
    """

    artifact: str
    method: str
    whole_ms: float
    operators: tuple[OperatorCost, ...]
    peak: dict[str, float]
    notes: tuple[str, ...]
    device: str = "local"

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {**vars(self), "operators": [vars(o) for o in self.operators]}
