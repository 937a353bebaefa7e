"""Unstructured pruning: zeros in kernels that keep their shape.

The names load on first use, since the command line reads the tables in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.compress.weights.pruning import prune_weights as prune_weights

__getattr__, __dir__, __all__ = lazy_names(__name__)
