"""How often a loop of a TensorFlow graph runs, where the graph says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.python.framework.func_graph import FuncGraph

# What only passes a number on.
_PASSING = frozenset({"Identity", "Cast", "Squeeze", "Reshape"})
# What turns sizes of tensors into other numbers.
_OF_SIZES = _PASSING | {
    "StridedSlice", "Pack", "ConcatV2", "Maximum", "Minimum", "Max", "Min", "Prod", "GatherV2",
    "AddV2", "Add", "Sub", "Mul", "FloorDiv", "FloorMod", "Range", "ExpandDims",
}  # fmt: skip
# Those of them that TensorFlow doesn't evaluate by itself.
_EVALUATED: dict[str, Callable[..., Any]] = {
    "Max": lambda x, _: np.max(x), "Min": lambda x, _: np.min(x),
    "Prod": lambda x, _: np.prod(x), "Maximum": np.maximum, "Minimum": np.minimum,
    "AddV2": np.add, "Add": np.add, "Sub": np.subtract, "Mul": np.multiply,
    "FloorDiv": np.floor_divide, "FloorMod": np.mod,
}  # fmt: skip
_SIZES = frozenset({"Shape", "ShapeN", "Size"})


def rounds(loop: tf.Operation, cond: FuncGraph, body: FuncGraph, free: bool = False) -> int | None:
    """How often a loop's body runs.

    A loop is understood if it goes on while counters are below fixed bounds and each round adds a
    fixed number to them, which is what recurrent layers and `for` over ranges are. A bound that is
    a free size counts as 1.

    Args:
        loop: The operation `While` or `StatelessWhile`.
        cond: The function graph of its condition.
        body: The function graph of its body.
        free: Whether sizes are left free.

    Returns:
        The number of rounds; None where it depends on the data.
    """
    least: int | None = None
    waiting = [cond.outputs[0]]
    while waiting:
        node = waiting.pop().op
        if node.type in _PASSING:
            waiting.append(node.inputs[0])
        elif node.type == "LogicalAnd":
            waiting += list(node.inputs)
        elif _is_true(node):
            continue
        elif (found := _below(node, loop, cond, body, free)) is None:
            return None
        else:
            least = found if least is None else min(least, found)
    return least


def _is_true(node: tf.Operation) -> bool:
    import tensorflow as tf

    return node.type == "Const" and bool(tf.get_static_value(node.outputs[0]))


def _below(
    node: tf.Operation, loop: tf.Operation, cond: FuncGraph, body: FuncGraph, free: bool
) -> int | None:
    """Rounds until a counter that is compared reaches its bound."""
    if node.type not in ("Less", "LessEqual", "Greater", "GreaterEqual"):
        return None
    sides = list(node.inputs)[:: 1 if node.type.startswith("Less") else -1]
    place = _place(sides[0], cond)
    if place is None:
        return None
    step = _step(place, body)
    start = _value(loop.inputs[place])
    end, outer = sides[1], _place(sides[1], cond)
    if outer is not None:
        if not _stays(outer, body):
            return None
        end = loop.inputs[outer]
    bound = _value(end)
    if not step or step < 0:
        return None
    if start is None or bound is None:
        return 1 if free and _is_size(loop.inputs[place]) and _is_size(end) else None
    distance = bound - start + (1 if node.type.endswith("Equal") else 0)
    return max(0, math.ceil(distance / step))


def _place(tensor: tf.Tensor, graph: FuncGraph) -> int | None:
    """Which argument of a function a tensor is."""
    while tensor.op.type in _PASSING:
        tensor = tensor.op.inputs[0]
    return next((i for i, given in enumerate(graph.inputs) if given is tensor), None)


def _stays(place: int, body: FuncGraph) -> bool:
    """Whether a round gives an argument on as it is."""
    return place >= len(body.outputs) or _place(body.outputs[place], body) == place


def _step(place: int, body: FuncGraph) -> int | None:
    """What a round adds to an argument."""
    if place >= len(body.outputs):
        return None
    tensor = body.outputs[place]
    while tensor.op.type in _PASSING:
        tensor = tensor.op.inputs[0]
    if tensor.op.type not in ("AddV2", "Add"):
        return None
    for one, other in (tensor.op.inputs, tuple(tensor.op.inputs)[::-1]):
        if _place(one, body) == place:
            return _value(other)
    return None


def _value(tensor: tf.Tensor) -> int | None:
    found = _constant(tensor)
    return None if found is None or np.size(found) != 1 else int(np.reshape(found, -1)[0])


def _constant(tensor: tf.Tensor) -> Any:
    """A tensor's value, where it doesn't depend on data or free sizes; else None."""
    import tensorflow as tf

    found = tf.get_static_value(tensor)
    if found is not None:
        return found
    node = tensor.op
    if node.type in _PASSING:
        return _constant(node.inputs[0])
    if node.type not in _EVALUATED:
        return None
    given = [_constant(t) for t in node.inputs]
    return None if any(g is None for g in given) else _EVALUATED[node.type](*given)


def _is_size(tensor: tf.Tensor) -> bool:
    """Whether a number is made of sizes and constants alone."""
    if tensor.op.type in _SIZES or _value(tensor) is not None:
        return True
    return tensor.op.type in _OF_SIZES and all(_is_size(t) for t in tensor.op.inputs)
