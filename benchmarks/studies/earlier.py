"""Names of this tree in the trees of earlier commits, which studies measure beside it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def found_in(*places: str) -> Any:
    """The first of some names that there is.

    Args:
        places: Each as module:name, the newest first.

    Raises:
        ImportError: There is none.
    """
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
    raise ImportError(f"none of {', '.join(places)}")
