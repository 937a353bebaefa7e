"""Which layers of a saved graph its outputs depend on.

`add_loss` and `add_metric` put what they compute into the graph, down to the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgepress.compress.models.legacy.wiring.wiring import is_reference


def living(config: Mapping[str, Any], specs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names of the layers that the outputs depend on, and of the inputs.

    Args:
        config: A graph's configuration: `input_layers`, `output_layers`.
        specs: Its layers, each with its name on top.
    """
    sources = {str(spec["name"]): spec.get("inbound_nodes") or [] for spec in specs}
    found = set(_named(config["input_layers"], sources))
    waiting = list(_named(config["output_layers"], sources))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _named(sources[name], sources)
    return found


def _named(value: Any, names: Mapping[str, Any]) -> Iterator[str]:
    """The layers that a structure of references names, those in arguments too."""
    if is_reference(value, names):
        if value[0] in names:
            yield value[0]
        value = value[3:]
    for item in value.values() if isinstance(value, Mapping) else value:
        if isinstance(item, Mapping | list):
            yield from _named(item, names)
