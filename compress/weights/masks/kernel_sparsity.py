"""Zeros as a saved file holds them."""

from __future__ import annotations

from typing import Any

from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.compress.weights.masks.masks import count_zeros
from edgepress.compress.weights.masks.prunable import find_kernels


def kernel_sparsity(model: Any) -> float:
    """Share of zeros among the weights of all kernels, counted in the file that is saved.

    Args:
        model: A built Keras model.

    Returns:
        0 to 1; 0 for a model without kernels.
    """
    again = copy_model(model)
    with scratch_folder() as folder:
        path = folder / "model.weights.h5"
        model.save_weights(path)
        again.load_weights(path)
    kernels, _ = find_kernels(again, depthwise=True)
    zeros, weights = count_zeros([k.value() for k in kernels])
    return zeros / weights if weights else 0.0
