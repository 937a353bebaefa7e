"""Weights of ONNX files in 8 bits whose operators compute in floats.

A Cast and a Mul expand them, not a DequantizeLinear: ONNX Runtime folds the first two into float
weights when it loads a file, lays these out for its kernels and runs as fast as with stored floats;
a DequantizeLinear it keeps, and runs again in every inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepress.deploy.exporters.onnx.node_order import bodies, reads

if TYPE_CHECKING:
    import onnx

# Symmetric, so that no zero point is needed. No product is counted in integers: all 8 bits are
# safe on every processor.
_LEVELS = 127
# Where operators have weights, by the place of the input. ConvTranspose has its output channels
# second, a recurrent layer its directions and the rows of its gates first, a table its entries.
_PLACES: dict[str, dict[int, tuple[int, ...]]] = {
    "Conv": {1: (0,)},
    "ConvTranspose": {1: (1,)},
    "MatMul": {0: (-2,), 1: (-1,)},
    "Gemm": {1: (1,)},
    "LSTM": {1: (0, 1), 2: (0, 1)},
    "GRU": {1: (0, 1), 2: (0, 1)},
    "RNN": {1: (0, 1), 2: (0, 1)},
    "Gather": {0: (0,)},
}


def store_in_8_bits(model: onnx.ModelProto) -> int:
    """Store float weights as int8 with a scale for each output channel, where that is smaller.

    Weights that loops or branches read stay as they are.

    Args:
        model: The model; changed.

    Returns:
        How many weights there were.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    channels = _channels(graph)
    stored = 0
    for tensor in list(graph.initializer):
        kept = channels.get(tensor.name)
        if kept is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        rest = tuple(set(range(values.ndim)) - {axis % values.ndim for axis in kept})
        largest = np.abs(values).max(rest, keepdims=True, initial=0)
        if not np.isfinite(largest).all():
            continue
        scale = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
        levels = np.clip(np.rint(values / scale), -_LEVELS, _LEVELS).astype(np.int8)
        name = tensor.name
        constants = (
            numpy_helper.from_array(levels, f"{name}_int8"),
            numpy_helper.from_array(scale, f"{name}_scale"),
        )
        steps = (
            helper.make_node("Cast", [constants[0].name], [f"{name}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", constants[1].name], [name]),
        )
        if sum(part.ByteSize() for part in (*constants, *steps)) >= tensor.ByteSize():
            continue
        graph.initializer.remove(tensor)
        graph.initializer.extend(constants)
        graph.node.extend(steps)  # in any order: the graph is sorted before it is written
        stored += 1
    return stored


def _channels(graph: onnx.GraphProto) -> dict[str, Sequence[int]]:
    """The axes of weights along which each place has a scale of its own, by name."""
    found: dict[str, Sequence[int]] = {}
    others = {value.name for value in graph.output}
    for node in graph.node:
        places = _PLACES.get(node.op_type, {}) if node.domain in ("", "ai.onnx") else {}
        if any(True for _ in bodies(node)):
            others |= set(reads(node))
        turned = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
        for place, name in enumerate(node.input):
            if place in places:
                found.setdefault(name, (0,) if turned else places[place])
            else:
                others.add(name)
    return {name: axes for name, axes in found.items() if name not in others}
