"""Structured pruning: channels, heads, units and layers that are really removed.

README.md beside this file explains the idea. The names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.compress.structure.explanation import explain as explain
    from edgepress.compress.structure.planning.plan import PruningPlan as PruningPlan
    from edgepress.compress.structure.planning.plan import apply_plan as apply_plan
    from edgepress.compress.structure.planning.plan import make_plan as make_plan
    from edgepress.compress.structure.pruning import prune_channels as prune_channels
    from edgepress.compress.structure.pruning import prune_structure as prune_structure
    from edgepress.compress.structure.rules import register_rule as register_rule

__getattr__, __dir__, __all__ = lazy_names(__name__)
