"""Masks before a softmax, bounded for integer ONNX files as `graph_passes` does for TFLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepress.deploy.lowerings.graph_passes import HUGE, MASKED

if TYPE_CHECKING:
    import onnx

_PASSING = frozenset({
    "Add", "Cast", "Expand", "Identity", "Max", "Min", "Mul", "Neg", "Reshape", "Slice", "Squeeze",
    "Sub", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip


def bound_masks(graph: onnx.GraphProto) -> bool:
    """Bound what masks scores before a softmax, in place.

    Args:
        graph: A graph whose constants are initializers or Constant nodes.

    Returns:
        Whether there was such a mask.
    """
    from onnx import numpy_helper

    made = {name: node for node in graph.node for name in node.output}
    read = _before_softmax(graph, made)
    found = False
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            tensors += [(node.output[0], a.t) for a in node.attribute if a.name == "value"]
    for name, tensor in tensors:
        if name not in read:
            continue
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind == "f" and np.any(np.abs(value) >= HUGE):
            bounded = np.clip(value, -MASKED, MASKED).astype(value.dtype)
            tensor.CopyFrom(numpy_helper.from_array(bounded, tensor.name))
            found = True
    return found


def _before_softmax(graph: onnx.GraphProto, made: dict[str, onnx.NodeProto]) -> set[str]:
    """Tensors whose values reach a softmax by sums, selections and moves alone."""
    found: set[str] = set()
    left = [node.input[0] for node in graph.node if node.op_type == "Softmax"]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        if name in made and made[name].op_type in _PASSING:
            left.extend(made[name].input)
    return found
