"""Make trained Keras models small and fast for devices, and prove it with measurements.

Three doors: `edgepress.compress`, `edgepress.benchmarks` and `edgepress.deploy`. Each is a folder
beside this one, which the installation joins with it; each loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress import benchmarks as benchmarks
    from edgepress import compress as compress
    from edgepress import deploy as deploy

    __version__: str

__all__ = ["__version__", "benchmarks", "compress", "deploy"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgepress")
    if name in __all__:
        return import_module(f"edgepress.{name}")
    raise AttributeError(f"module 'edgepress' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
