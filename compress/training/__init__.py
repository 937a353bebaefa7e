"""Fine-tuning: what is trained, how, and a training that can be trusted and resumed.

The names load on first use, so that listing schedules or optimizers costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.compress.training.advice import Advice as Advice
    from edgepress.compress.training.advice import advise as advise
    from edgepress.compress.training.curves import draw_curves as draw_curves
    from edgepress.compress.training.finetuning import FinetuneResult as FinetuneResult
    from edgepress.compress.training.finetuning import finetune as finetune
    from edgepress.compress.training.finetuning import finetune_as as finetune_as
    from edgepress.compress.training.loop.distribution import join_workers as join_workers
    from edgepress.compress.training.loop.history import History as History
    from edgepress.compress.training.lr_range import LrRange as LrRange
    from edgepress.compress.training.lr_range import draw_range as draw_range
    from edgepress.compress.training.lr_range import lr_find as lr_find
    from edgepress.compress.training.optimization.optimizers import OPTIMIZERS as OPTIMIZERS
    from edgepress.compress.training.optimization.schedules import SCHEDULES as SCHEDULES
    from edgepress.compress.training.progressive import UnfreezeSearch as UnfreezeSearch
    from edgepress.compress.training.progressive import draw_search as draw_search
    from edgepress.compress.training.progressive import unfreeze_search as unfreeze_search
    from edgepress.compress.training.training_run import fit as fit

__getattr__, __dir__, __all__ = lazy_names(__name__)
