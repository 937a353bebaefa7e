"""Unstructured pruning: zeros in kernels that keep their shape.

The names load on first use, since the command line reads the tables in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress.compress.weights.pruning import prune_weights as prune_weights

__all__ = ["prune_weights"]


def __getattr__(name: str) -> Any:
    if name != "prune_weights":
        raise AttributeError(f"module 'edgepress.compress.weights' has no attribute '{name}'")
    from edgepress.compress.weights.pruning import prune_weights

    return prune_weights
