"""One figure of one output, before and after."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OutputMetric:
    """What a metric says of one output.

    Attributes:
        output: Name of the output.
        metric: Name of the metric.
        value: The metric; None where it could not be taken.
        source_value: The same of what it is compared with: the source of a file, the model before
            a training or a pruning. None where there is nothing to compare with.
    """

    output: str
    metric: str
    value: float | None
    source_value: float | None = None
