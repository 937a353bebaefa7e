"""Fine-tuning: what is trained, how, and a training that can be trusted and resumed.

The names load on first use, so that listing schedules or optimizers costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress.compress.finetune.advice import Advice as Advice
    from edgepress.compress.finetune.advice import advise as advise
    from edgepress.compress.finetune.curves import draw_curves as draw_curves
    from edgepress.compress.finetune.distribution import join_workers as join_workers
    from edgepress.compress.finetune.history import History as History
    from edgepress.compress.finetune.lr_range import LrRange as LrRange
    from edgepress.compress.finetune.lr_range import draw_range as draw_range
    from edgepress.compress.finetune.lr_range import lr_find as lr_find
    from edgepress.compress.finetune.optimizers import OPTIMIZERS as OPTIMIZERS
    from edgepress.compress.finetune.progressive import UnfreezeSearch as UnfreezeSearch
    from edgepress.compress.finetune.progressive import draw_search as draw_search
    from edgepress.compress.finetune.progressive import unfreeze_search as unfreeze_search
    from edgepress.compress.finetune.running import FinetuneResult as FinetuneResult
    from edgepress.compress.finetune.running import finetune as finetune
    from edgepress.compress.finetune.running import finetune_as as finetune_as
    from edgepress.compress.finetune.schedules import SCHEDULES as SCHEDULES
    from edgepress.compress.finetune.train import fit as fit

_HOMES = {
    "Advice": "advice",
    "advise": "advice",
    "LrRange": "lr_range",
    "OPTIMIZERS": "optimizers",
    "SCHEDULES": "schedules",
    "FinetuneResult": "running",
    "UnfreezeSearch": "progressive",
    "draw_range": "lr_range",
    "join_workers": "distribution",
    "draw_search": "progressive",
    "lr_find": "lr_range",
    "unfreeze_search": "progressive",
    "History": "history",
    "draw_curves": "curves",
    "finetune": "running",
    "finetune_as": "running",
    "fit": "train",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgepress.compress.finetune' has no attribute '{name}'")
    return getattr(import_module(f"edgepress.compress.finetune.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)


class _CallablePackage(ModuleType):
    """`compress.finetune` is this package and a function; calling it means the function."""

    def __call__(self, model: Any, data: Any, **options: Any) -> FinetuneResult:
        """See `finetune`."""
        from edgepress.compress.finetune.running import finetune

        return finetune(model, data, **options)


sys.modules[__name__].__class__ = _CallablePackage
