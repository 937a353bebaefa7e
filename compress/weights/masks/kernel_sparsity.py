"""Zeros as a saved file holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.weights.masks.masks import count_zeros
from edgepress.compress.weights.masks.prunable import find_kernels

if TYPE_CHECKING:
    import keras


def kernel_sparsity(model: keras.Model) -> float:
    """Share of zeros among the weights of all kernels, counted in the values that are saved.

    Args:
        model: A built Keras model.

    Returns:
        0 to 1; 0 for a model without kernels.
    """
    kernels, _ = find_kernels(model, depthwise=True)
    zeros, weights = count_zeros([k.seen() for k in kernels])
    return zeros / weights if weights else 0.0
