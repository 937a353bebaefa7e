"""Names of layers: those that files hold, and those that Keras 3 takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def safe_name(name: Any) -> str:
    """A name that Keras 3 and TensorFlow's graphs take: without slashes, blanks and accents."""
    made = re.sub(r"[^A-Za-z0-9_.>-]", "_", str(name))
    return made if re.match(r"[A-Za-z0-9.]", made) else f"x{made}"


def told_apart(specs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The saved layers of one model, each with its saved name on top, where there is one.

    Names in their configurations are changed where two would become the same for Keras 3.

    Args:
        specs: `{class_name, config}` of each; Keras 1 has the name in the configuration only.
    """
    taken: set[str] = set()
    found = []
    for spec in specs:
        config = spec.get("config")
        inner = config.get("name") if isinstance(config, Mapping) else None
        made = {**spec, "name": str(spec.get("name") or inner or "") or None}
        if isinstance(config, Mapping) and inner is not None:
            made["config"] = {**config, "name": _free(str(inner), taken)}
        found.append(made)
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, counted on where what Keras 3 makes of it is taken."""
    free, count = name, 1
    while safe_name(free) in taken:
        free, count = f"{name}_{count}", count + 1
    taken.add(safe_name(free))
    return free
