"""The measuring instrument: samples, statistics, reports.

It knows artifacts and the protocol of a device, and imports no framework. The names load on first
use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress.benchmarks.measuring import measure as measure
    from edgepress.benchmarks.runtimes.runtime import Runtime as Runtime
    from edgepress.benchmarks.tflite.arena import plan_arena as plan_arena

_HOMES = {"measure": "measuring", "plan_arena": "tflite.arena", "Runtime": "runtimes.runtime"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgepress.benchmarks' has no attribute '{name}'")
    return getattr(import_module(f"edgepress.benchmarks.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
