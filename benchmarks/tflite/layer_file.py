"""A `.tflite` file of one layer, so that its time can be measured alone and at any width."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import packed
from edgepress.compress.structure.budgets.layer_size import LayerSize


def write_layer(size: LayerSize, path: Path) -> Path:
    """Write one convolution, depthwise convolution or dense layer with a ReLU, in float32.

    Args:
        size: Its sizes. The weights are small random numbers: zeros or denormals could be faster.
        path: Where the file goes.

    Returns:
        The file.
    """
    from ai_edge_litert import schema_py_generated as schema

    shapes = _shapes(size)
    named = zip(("x", "kernel", "bias", "y"), shapes, (0, 1, 2, 0), strict=True)
    tensors = [_tensor(schema, name, shape, buffer) for name, shape, buffer in named]
    random = np.random.default_rng(0)
    values = [random.standard_normal(s).astype(np.float32) * 0.1 for s in shapes[1:3]]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    number, kind, options = _operator(schema, size)
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 2 if size.dilation != (1, 1) else 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2], [3]
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs = [0], [3]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), *(_buffer(schema, v) for v in values)]
    path.write_bytes(packed(model))
    return path


def _shapes(size: LayerSize) -> tuple[list[int], ...]:
    """Shapes of the input, kernel, bias and output."""
    inputs, outputs = size.inputs, size.outputs
    if size.kind == "dense":
        rows = size.area[1]
        return [rows, inputs], [outputs, inputs], [outputs], [rows, outputs]
    made = inputs * outputs if size.kind == "depthwise" else outputs
    kernel = [1, *size.kernel, made] if size.kind == "depthwise" else [made, *size.kernel, inputs]
    area = [_length(size, axis) for axis in (0, 1)]
    return [1, *size.area, inputs], kernel, [made], [1, *area, made]


def _length(size: LayerSize, axis: int) -> int:
    """Length of the output along an axis."""
    length, stride = size.area[axis], size.strides[axis]
    if size.same:
        return -(-length // stride)
    reach = (size.kernel[axis] - 1) * size.dilation[axis]
    return max(1, -(-(length - reach) // stride))


def _tensor(schema: ModuleType, name: str, shape: list[int], buffer: int) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name, shape, buffer
    made.type = schema.TensorType.FLOAT32
    return made


def _buffer(schema: ModuleType, values: NDArray[np.float32]) -> Any:
    made = schema.BufferT()
    made.data = np.frombuffer(values.tobytes(), np.uint8)
    return made


def _operator(schema: ModuleType, size: LayerSize) -> tuple[int, int, Any]:
    """Number, kind of options and options of the operator."""
    relu = schema.ActivationFunctionType.RELU
    if size.kind == "dense":
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = relu
        names = schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOptions.FullyConnectedOptions
        return (*names, options)
    if size.kind == "depthwise":
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = size.outputs
        names = (
            schema.BuiltinOperator.DEPTHWISE_CONV_2D,
            schema.BuiltinOptions.DepthwiseConv2DOptions,
        )
    else:
        options = schema.Conv2DOptionsT()
        names = schema.BuiltinOperator.CONV_2D, schema.BuiltinOptions.Conv2DOptions
    options.padding = schema.Padding.SAME if size.same else schema.Padding.VALID
    options.strideH, options.strideW = size.strides
    options.dilationHFactor, options.dilationWFactor = size.dilation
    options.fusedActivationFunction = relu
    return (*names, options)
