"""Masks before a softmax, bounded for integer ONNX files as `graph_passes` does for TFLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgepress.deploy.lowerings.graph_passes import HUGE, MASKED, scale_of

if TYPE_CHECKING:
    import onnx

_PASSING = frozenset({
    "Add", "Cast", "Div", "Expand", "Identity", "Max", "Min", "Mul", "Neg", "Reshape", "Slice",
    "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip


_ONLY_MOVING = frozenset({
    "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip


def bound_masks(graph: onnx.GraphProto) -> bool:
    """Bound what masks scores before a softmax, in place.

    Args:
        graph: A graph whose constants are initializers or Constant nodes.

    Returns:
        Whether there was such a mask.
    """
    tensors = _constants(graph)
    factors = _before_softmax(graph, tensors)
    inputs = _bound_inputs(graph, factors)
    return _bound_constants(tensors, factors) or inputs


def _bound_constants(tensors: Mapping[str, onnx.TensorProto], factors: Mapping[str, float]) -> bool:
    """Bound masks that are constants."""
    from onnx import numpy_helper

    found = False
    for name, factor in factors.items():
        if name not in tensors:
            continue
        value = numpy_helper.to_array(tensors[name])
        if value.dtype.kind == "f" and np.any(np.abs(value) >= HUGE):
            most = MASKED / factor
            bounded = np.clip(value, -most, most).astype(value.dtype)
            tensors[name].CopyFrom(numpy_helper.from_array(bounded, tensors[name].name))
            found = True
    return found


def _bound_inputs(graph: onnx.GraphProto, factors: Mapping[str, float]) -> bool:
    """Bound from below inputs of the model that are added to scores, as masks of 0 and -1e9 are."""
    from onnx import TensorProto, helper, numpy_helper

    made = {name: node for node in graph.node for name in node.output}
    floats = {i.name for i in graph.input if i.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats -= {tensor.name for tensor in graph.initializer}
    added = {
        _source(given, made): MASKED / factors[node.output[0]]
        for node in graph.node
        if node.op_type == "Add" and node.output[0] in factors
        for given in node.input
    }
    for name in floats & added.keys():
        bounded, bound = f"{name}_bounded", f"{name}_bound"
        for node in graph.node:
            for place, given in enumerate(node.input):
                if given == name:
                    node.input[place] = bounded
        least = np.array(-added[name], np.float32)
        graph.initializer.append(numpy_helper.from_array(least, bound))
        graph.node.insert(0, helper.make_node("Max", [name, bound], [bounded], name=bounded))
    return bool(floats & added.keys())


def _source(name: str, made: Mapping[str, onnx.NodeProto]) -> str:
    """What a tensor's values were moved from."""
    while name in made and made[name].op_type in _ONLY_MOVING:
        name = made[name].input[0]
    return name


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """A graph's constants by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return tensors


def _before_softmax(
    graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]
) -> dict[str, float]:
    """Tensors whose values reach a softmax by sums, selections and moves alone.

    Each with the constant factor that is between it and the softmax.
    """
    from onnx import numpy_helper

    made = {name: node for node in graph.node for name in node.output}
    found: dict[str, float] = {}
    left = [(node.input[0], 1.0) for node in graph.node if node.op_type == "Softmax"]
    while left:
        name, factor = left.pop()
        if name in found:
            continue
        found[name] = factor
        node = made.get(name)
        if node is None or node.op_type not in _PASSING:
            continue
        divides = node.op_type == "Div"
        if divides or node.op_type == "Mul":
            known = [numpy_helper.to_array(constants[i]) for i in node.input if i in constants]
            if divides:
                factor /= scale_of(known[-1] if node.input[1] in constants else None)
            else:
                factor *= float(np.prod([scale_of(value) for value in known]))
        # What divides isn't a mask.
        left.extend((given, factor) for given in node.input[: 1 if divides else None])
    return found
