"""What became of one figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.number_format import pair_texts

SAME, WORSE, BETTER, UNKNOWN = "same", "regression", "improvement", "not compared"


@dataclass(frozen=True)
class Change:
    """One row's figure against its earlier self.

    Attributes:
        artifact: The row's label.
        device: Where it was measured.
        quantity: "latency", "size", "arena", "memory", "energy" or the metric's name.
        before: Earlier value, or None where there was none.
        after: Present value, or None where there is none.
        verdict: "regression", "improvement", "same" or "not compared".
        reason: Why, in words: the evidence and the tolerance.
        tolerance: What counts as the same: a share, or points of a score.
        samples: Samples that a metric was taken on.
        p_value: Of the paired test, where there was one.
        interval: 95 % interval of the difference `after - before`, where there is one.
        method: Name of the test.
    """

    artifact: str
    device: str
    quantity: str
    before: float | None
    after: float | None
    verdict: str
    reason: str
    tolerance: float | None = None
    samples: int | None = None
    p_value: float | None = None
    interval: tuple[float, float] | None = None
    method: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        interval = list(self.interval) if self.interval else None
        return {**vars(self), "interval": interval}

    @property
    def sentence(self) -> str:
        """The change in one line."""
        where = "" if self.device == "local" else f" on {self.device}"
        before, after = pair_texts(self.quantity, self.before, self.after)
        values = f"{before} -> {after}"
        return f"{self.quantity} of {self.artifact}{where} {values} ({self.reason})"


def within(growth: float, tolerance: float) -> bool:
    """Whether a growth is inside a tolerance; the last bits of a difference don't decide."""
    return growth <= tolerance * (1 + 1e-9) + 1e-12
