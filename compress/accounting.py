"""A model in numbers: what pruning reports before and after."""

from __future__ import annotations

from typing import Any

from edgepress.compress.data import Dataset, evaluate
from edgepress.compress.results import ModelFigures


def model_figures(model: Any, dataset: Dataset | None = None) -> ModelFigures:
    """Parameters, MACs, bytes, and with data the task's metric on the split for reports.

    Args:
        model: A built Keras model.
        dataset: What the metric is measured on, or None.

    Returns:
        The figures.
    """
    from edgepress.compress.cost import layer_costs
    from edgepress.compress.models.writing import saved_bytes

    costs = layer_costs(model)
    metric = value = split = None
    if dataset is not None:
        metric, split = dataset.task.metric, dataset.report_split.name
        value = evaluate(model, dataset.report_split, dataset.task)
    return ModelFigures(
        params=model.count_params(),
        macs=sum(cost.macs for cost in costs),
        bytes=saved_bytes(model),
        metric=metric,
        value=value,
        split=split,
    )
