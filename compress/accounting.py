"""A model in numbers: what pruning reports before and after."""

from __future__ import annotations

import tempfile
from pathlib import Path
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


def kernel_sparsity(model: Any) -> float:
    """Share of zeros among the weights of all kernels, counted in the file that is saved.

    Args:
        model: A built Keras model.

    Returns:
        0 to 1; 0 for a model without kernels.
    """
    from edgepress.compress.finetune.copying import copy_model
    from edgepress.compress.weights.masks import count_zeros
    from edgepress.compress.weights.prunable import find_kernels

    again = copy_model(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        again.load_weights(path)
    kernels, _ = find_kernels(again, depthwise=True)
    zeros, weights = count_zeros([k.value() for k in kernels])
    return zeros / weights if weights else 0.0
