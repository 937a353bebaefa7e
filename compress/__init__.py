"""Make Keras models smaller: load, inspect, fine-tune, prune, strip.

The names load on first use, so that `from edgepress import compress` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgepress.compress.kernel.onednn import prefer_onednn

prefer_onednn()

if TYPE_CHECKING:
    from edgepress.compress.data import open_data as open_data
    from edgepress.compress.inspection import inspect as inspect
    from edgepress.compress.models import load as load
    from edgepress.compress.models import save as save
    from edgepress.compress.pruning import prune as prune
    from edgepress.compress.stripping import strip as strip
    from edgepress.compress.structure.sensitivity import sensitivity as sensitivity
    from edgepress.compress.training import advise as advise
    from edgepress.compress.training import finetune as finetune
    from edgepress.compress.training import lr_find as lr_find
    from edgepress.compress.training import unfreeze_search as unfreeze_search

_HOMES = {
    "load": "models",
    "save": "models",
    "open_data": "data",
    "inspect": "inspection",
    "finetune": "training",
    "advise": "training",
    "lr_find": "training",
    "unfreeze_search": "training",
    "prune": "pruning",
    "sensitivity": "structure.sensitivity",
    "strip": "stripping",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgepress.compress' has no attribute '{name}'")
    return getattr(import_module(f"edgepress.compress.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
