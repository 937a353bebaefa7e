"""Metrics: in the table a new one is a function, its direction and a line."""

from edgepress.compress.data.metrics.metric import Metric, MetricFunction, Scorer
from edgepress.compress.data.metrics.table import (
    LOSS,
    METRICS,
    drop_of,
    fallen,
    is_always_right,
    metric_name,
    metric_of,
    with_class_number,
    worst_drop,
)

__all__ = [
    "LOSS",
    "METRICS",
    "Metric",
    "MetricFunction",
    "Scorer",
    "drop_of",
    "fallen",
    "is_always_right",
    "metric_name",
    "metric_of",
    "with_class_number",
    "worst_drop",
]
