"""A bias of its own for every operator of an integer TFLite file.

A converter stores equal constants once. An integer bias counts in units of input scale times weight
scale, though, which differ from operator to operator: with 16-bit activations TensorFlow's
converter quantises a bias that several operators share for one of them, and the others add
something else without a word. (https://ai.google.dev/edge/litert/models/quantization_spec)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import packed

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

# Scales are float32: products of two are right to less than this.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Operands:
    """Where an operator has its activations, its weights and its bias among its inputs."""

    activations: int
    weights: int
    bias: int


OPERANDS = {
    "CONV_2D": Operands(0, 1, 2), "DEPTHWISE_CONV_2D": Operands(0, 1, 2),
    "FULLY_CONNECTED": Operands(0, 1, 2), "TRANSPOSE_CONV": Operands(2, 1, 3),
    "CONV_3D": Operands(0, 1, 2),
}  # fmt: skip


def own_biases(content: bytes) -> bytes:
    """A file whose operators each have a bias in their own unit.

    Args:
        content: A TFLite file.

    Returns:
        The file; the same bytes where no bias was quantised for another operator.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    unshared = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            operands = OPERANDS.get(names.get(code.builtinCode, ""))
            unshared += operands is not None and _unshare(model, graph, operator, operands)
    return packed(model, len(content)) if unshared else content


def _unshare(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, operands: Operands
) -> bool:
    """Whether an operator's bias had another unit than its products, and has one of its own now."""
    if len(operator.inputs) <= operands.bias or operator.inputs[operands.bias] < 0:
        return False
    activations, weights, bias = (
        graph.tensors[operator.inputs[place]]
        for place in (operands.activations, operands.weights, operands.bias)
    )
    products = _scales(activations), _scales(weights)
    unit, numbers = _scales(bias), model.buffers[bias.buffer].data
    if numbers is None or not (unit.size and all(scales.size for scales in products)):
        return False
    right = np.broadcast_to(products[0] * products[1], unit.shape)
    if np.allclose(unit, right, rtol=_ROUNDING, atol=0):
        return False
    kind = np.int64 if _is_64_bits(bias) else np.int32
    stored: NDArray[Any] = np.asarray(numbers, np.uint8).view(kind)
    values = stored.astype(np.float64) * (unit / right)
    bounds = np.iinfo(kind)
    own = copy.deepcopy(bias)
    own.quantization.scale = right.astype(np.float32)
    own.buffer = len(model.buffers)
    buffer = copy.copy(model.buffers[bias.buffer])
    buffer.data = np.clip(np.rint(values), bounds.min, bounds.max).astype(kind).view(np.uint8)
    model.buffers.append(buffer)
    operator.inputs = [*operator.inputs]
    operator.inputs[operands.bias] = len(graph.tensors)
    graph.tensors.append(own)
    return True


def _scales(tensor: schema.TensorT) -> NDArray[np.float64]:
    """A quantised tensor's scales; none of another."""
    found = None if tensor.quantization is None else tensor.quantization.scale
    return np.asarray([] if found is None else found, np.float64)


def _is_64_bits(tensor: schema.TensorT) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    return bool(tensor.type == schema.TensorType.INT64)
