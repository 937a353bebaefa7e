"""Structured pruning: channels, heads, units and layers that are really removed.

README.md beside this file explains the idea. The names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress.compress.structure.explanation import explain as explain
    from edgepress.compress.structure.planning.plan import PruningPlan as PruningPlan
    from edgepress.compress.structure.planning.plan import apply_plan as apply_plan
    from edgepress.compress.structure.planning.plan import make_plan as make_plan
    from edgepress.compress.structure.pruning import prune_channels as prune_channels
    from edgepress.compress.structure.pruning import prune_structure as prune_structure
    from edgepress.compress.structure.rules import register_rule as register_rule

_HOMES = {
    "explain": "explanation",
    "PruningPlan": "planning.plan",
    "apply_plan": "planning.plan",
    "make_plan": "planning.plan",
    "prune_channels": "pruning",
    "prune_structure": "pruning",
    "register_rule": "rules",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgepress.compress.structure' has no attribute '{name}'")
    return getattr(import_module(f"edgepress.compress.structure.{_HOMES[name]}"), name)
