"""Figures of single outputs, before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
        headline: Whether the one value that tables show and choices are made by is of this output.
    """

    output: str
    metric: str
    value: float | None
    source_value: float | None = None
    headline: bool = True


def compared(
    figures: Sequence[OutputMetric], source: Sequence[OutputMetric]
) -> tuple[OutputMetric, ...]:
    """Figures beside those of what they are compared with, by output."""
    earlier = {figure.output: figure.value for figure in source}
    return tuple(dataclasses.replace(f, source_value=earlier.get(f.output)) for f in figures)


def fall(before: float, after: float, rising: bool) -> float:
    """How much worse `after` is.

    Args:
        before: The earlier value.
        after: The present one.
        rising: Whether higher is better.

    Returns:
        Points of a score, the share of an error's size: losses such as Keras's cosine similarity
        lie below 0, and rise towards it as they get worse. From an error of 0, the error itself.
    """
    if rising:
        return before - after
    return (after - before) / abs(before) if before else after
