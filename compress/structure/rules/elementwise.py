"""The rule of layers that compute element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.structure.channels.ids import Ids
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.rule import Rule

if TYPE_CHECKING:
    import keras


def trace_same(_layer: keras.Operation, inputs: tuple[Ids, ...], _site: Site) -> Ids:
    """Element by element: what comes in goes out."""
    return inputs[0]


SAME = Rule(trace_same)
