"""Turn Keras models into files for devices, prove them, measure them, run the whole line.

The names load on first use, so that `from edgepress import deploy` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress.deploy.benchmarking.benchmark import benchmark as benchmark
    from edgepress.deploy.exporting.export import export as export
    from edgepress.deploy.pipeline.pipeline import run as run
    from edgepress.deploy.pruning import prune as prune
    from edgepress.deploy.searching.search import search as search
    from edgepress.deploy.sources.inspection import inspect as inspect
    from edgepress.deploy.verification.verifying import verify as verify

_HOMES = {
    "benchmark": "benchmarking.benchmark",
    "export": "exporting.export",
    "inspect": "sources.inspection",
    "prune": "pruning",
    "run": "pipeline.pipeline",
    "search": "searching.search",
    "verify": "verification.verifying",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgepress.deploy' has no attribute '{name}'")
    return getattr(import_module(f"edgepress.deploy.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
