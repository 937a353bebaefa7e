"""Layers and operations in which tensors meet element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.structure.channels.ids import Ids
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.rule import Rule

if TYPE_CHECKING:
    import keras


def meet(inputs: Sequence[Ids], site: Site) -> Ids:
    """Unite the channels that meet in an element-wise operation.

    A tensor that is one wide where the others have channels (a spatial attention map, a scalar) is
    spread over them: it ties nothing, and its own channel stays.
    """
    if len({i.rank for i in inputs}) > 1:
        return _refuse(inputs, site, "{} joins tensors of different rank")
    shape = site.shapes[0]
    narrow = [i for i in inputs if _is_spread(i, inputs)]
    main = [i for i in inputs if all(i is not n for n in narrow)]
    for ids in narrow:
        site.pin(ids, "{} broadcasts it over other channels")
    if not main or any(ids.array.size > 1 for ids in narrow):
        return _refuse(inputs, site, "{} broadcasts tensors against each other")
    for other in main[1:]:
        site.trace.classes.unite(*np.broadcast_arrays(main[0].array, other.array))
    widest = np.broadcast_arrays(*(i.array for i in main))[0]
    return Ids(widest, shape)


def _is_spread(ids: Ids, others: Sequence[Ids]) -> bool:
    """Whether a tensor has length 1 on an axis along which another has channels."""
    return any(
        ids.shape[axis] == 1 and other.array.shape[axis] > 1
        for other in others
        for axis in range(1, ids.rank)
    )


def _refuse(inputs: Sequence[Ids], site: Site, reason: str) -> Ids:
    return refuse(inputs, site, reason)[0]


def refuse(inputs: Sequence[Ids], site: Site, reason: str) -> list[Ids]:
    """Keep all channels that go in or come out; `{}` in the reason becomes the layer's path."""
    for ids in inputs:
        site.pin(ids, reason)
    reason_here = reason.replace("{}", f"'{site.path}'")
    return [site.pinned(reason_here, index) for index in range(len(site.shapes))]


def trace_meeting(_layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Add, Multiply, Maximum, …"""
    return meet(inputs, site)


def trace_operator(_operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """`x + y` of keras.ops, where one side may be a number."""
    if len(inputs) == 1:
        return Ids(inputs[0].array, site.shapes[0])
    return meet(inputs, site)


def trace_unknown(_layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> list[Ids]:
    """No rule: everything that goes in or comes out stays."""
    kind = type(site.layer).__name__
    return refuse(inputs, site, f"{{}} is a {kind}, for which there is no rule")


MEETING = Rule(trace_meeting)
OPERATOR = Rule(trace_operator)
UNKNOWN = Rule(trace_unknown)
