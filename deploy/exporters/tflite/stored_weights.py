"""Weights of some operators of a TFLite file, stored in fewer bits."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import operator_kinds, packed
from edgepress.deploy.quantize.rounding import nearest

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

# Operators whose kernels for int8 activations unpack int4 weights; all have the weights as their
# second input and the bias as their third.
# Source: tensorflow/lite/kernels/{conv,depthwise_conv,fully_connected}.cc, kTfLiteInt4.
FOUR_BITS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_LEVELS = 7  # on both sides of zero, as kernels without a zero point ask for
# Shares of a channel's largest weight that are tried as the end of its grid.
_ENDS = np.linspace(0.5, 1.0, 26)

# Operators whose outputs are parts of one input, with the place of that input.
_PARTING = {"SPLIT": 1, "SPLIT_V": 0, "UNPACK": 0}


def in_half_floats(
    model: schema.ModelT, graph: schema.SubGraphT, operators: Sequence[schema.OperatorT]
) -> None:
    """Store float constants of operators in 16 bits, each behind a DEQUANTIZE.

    Constants that others read too get a copy.

    Args:
        model: The file; changed.
        graph: Its graph; changed.
        operators: Operators of the graph.
    """
    from ai_edge_litert import schema_py_generated as schema

    half: dict[int, int] = {}
    for operator in operators:
        operator.inputs = list(map(int, operator.inputs))
        for place, tensor in enumerate(operator.inputs):
            if tensor < 0 or not _is_float_constant(model, graph.tensors[tensor]):
                continue
            if tensor not in half:
                half[tensor] = _dequantised(model, graph, tensor)
            operator.inputs[place] = half[tensor]
    if half:
        code = _code_of(model, schema.BuiltinOperator.DEQUANTIZE)
        first = []
        for wide in half.values():
            step = schema.OperatorT()
            step.opcodeIndex = code
            step.inputs, step.outputs = [wide - 1], [wide]
            step.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
            step.builtinOptions = schema.DequantizeOptionsT()
            first.append(step)
        graph.operators = [*first, *graph.operators]
        _drop_unread(model, graph)


def _is_float_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    stored, shape = model.buffers[tensor.buffer].data, tensor.shape
    return tensor.type == schema.TensorType.FLOAT32 and stored is not None and shape is not None


def _dequantised(model: schema.ModelT, graph: schema.SubGraphT, tensor: int) -> int:
    """The tensor of 32 bits that a new constant of 16 bits becomes; the constant is before it."""
    from ai_edge_litert import schema_py_generated as schema

    wide = copy.copy(graph.tensors[tensor])
    name = wide.name.decode()
    narrow = copy.copy(wide)
    wide.buffer, wide.name = 0, f"{name}_wide".encode()
    narrow.name, narrow.type = f"{name}_half".encode(), schema.TensorType.FLOAT16
    values = numbers(model, graph.tensors[tensor], "<f4")
    narrow.buffer = stored(model, values.astype("<f2"))
    graph.tensors += [narrow, wide]
    return len(graph.tensors) - 1


def stored(model: schema.ModelT, values: NDArray[Any]) -> int:
    """The place of a new buffer with these numbers."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def small_kernels_in_8_bits(content: bytes) -> bytes:
    """A dynamic file with the kernels in 8 bits that TensorFlow's converter leaves in floats.

    It asks for 1,024 weights. Those of convolutions and dense layers run as larger ones do;
    depthwise ones stay, for which XNNPACK has no such kernel, and convolutions of few channels.

    Args:
        content: A file with float activations.

    Returns:
        The file; the given bytes where there are no such kernels.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds, done = operator_kinds(model), False
    for graph in model.subgraphs:
        others = Counter(int(tensor) for operator in graph.operators for tensor in operator.inputs)
        for operator in graph.operators:
            version = _HYBRID_VERSIONS.get(kinds[operator.opcodeIndex])
            if version is None or others[int(operator.inputs[1])] > 1:
                continue
            kernel = graph.tensors[int(operator.inputs[1])]
            if not _is_float_constant(model, kernel) or not _pays(kernel):
                continue
            values = numbers(model, kernel, "<f4")
            levels, scales = nearest(values.reshape(len(values), -1), 127)
            kernel.quantization = schema.QuantizationParametersT()
            kernel.quantization.scale = scales.astype(np.float32)
            kernel.quantization.zeroPoint = np.zeros(len(scales), np.int64)
            kernel.type = schema.TensorType.INT8
            kernel.buffer = stored(model, levels.astype(np.int8))
            code = model.operatorCodes[operator.opcodeIndex]
            code.version, done = max(code.version, version), True
        if done:
            empty_unread(model)
    return packed(model, len(content)) if done else content


# Versions from which operators of float activations take int8 kernels of a scale for each output.
# Source: tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc.
_HYBRID_VERSIONS = {"CONV_2D": 5, "FULLY_CONNECTED": 12}
# What a table of scales and zero points costs beside four bytes for each scale.
_TABLE = 64


# Kernels of bytes take channels in eights: of an image's three more than half the work would be
# padding. ResNet-8 took 0.183 ms with its first convolution so, 0.155 ms with that in floats.
_FEWEST_CHANNELS = 8


def _pays(kernel: schema.TensorT) -> bool:
    """Whether 8 bits take fewer bytes, three saved for each weight, and no more time."""
    outputs, channels = int(kernel.shape[0]), int(kernel.shape[-1])
    saved = 3 * int(np.prod(kernel.shape)) - 12 * outputs
    return channels >= _FEWEST_CHANNELS and saved > _TABLE


def empty_unread(model: schema.ModelT) -> None:
    """Empty the buffers that no tensor and no metadata has."""
    read = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    read |= {entry.buffer for entry in model.metadata or ()}
    for place, buffer in enumerate(model.buffers):
        if place not in read:
            buffer.data = None


def _code_of(model: schema.ModelT, kind: int) -> int:
    """The place of an operator's code, added where the file has none."""
    from ai_edge_litert import schema_py_generated as schema

    for place, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == kind:
            code.version = max(code.version, 2)  # the first takes no floats of 16 bits
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _drop_unread(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Empty the buffers of tensors that nothing reads any more."""
    read = {int(t) for op in graph.operators for t in (*op.inputs, *op.outputs)}
    read |= {int(t) for t in (*graph.inputs, *graph.outputs)}
    used = {tensor.buffer for place, tensor in enumerate(graph.tensors) if place in read}
    used |= {tensor.buffer for other in model.subgraphs[1:] for tensor in other.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for place, tensor in enumerate(graph.tensors):
        if place not in read and tensor.buffer not in used:
            model.buffers[tensor.buffer].data = None
            tensor.buffer = 0


def in_four_bits(
    model: schema.ModelT, graph: schema.SubGraphT, operators: Sequence[schema.OperatorT]
) -> None:
    """Store int8 weights of operators in 4 bits, each channel on the grid of the least error.

    Biases count in units of the weights' scales, so they are counted again.

    Args:
        model: The file; changed.
        graph: Its graph; changed.
        operators: Of `FOUR_BITS`, with int8 weights.
    """
    from ai_edge_litert import schema_py_generated as schema

    done: dict[int, NDArray[np.float64]] = {}
    for operator in operators:
        operator.inputs = list(map(int, operator.inputs))
        place = operator.inputs[1]
        weights = graph.tensors[place]
        if place not in done:
            levels, scales = _four_bit_levels(numbers(model, weights, "i1"), weights.quantization)
            before = np.asarray(weights.quantization.scale, np.float64)
            done[place] = before / scales
            weights.quantization.scale = scales.astype(np.float32)
            weights.type = schema.TensorType.INT4
            weights.buffer = stored(model, packed_levels(levels))
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            operator.inputs[2] = _rescaled_bias(model, graph, operator.inputs[2], done[place])
    if operators:
        for code in model.operatorCodes:
            code.version = max(code.version, _INT4_VERSIONS.get(code.builtinCode, 1))
        _drop_unread(model, graph)


# Versions from which operators take int4 weights.
# Source: tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc.
_INT4_VERSIONS = {3: 7, 4: 7, 9: 10}


def _four_bit_levels(
    levels: NDArray[np.int8], grid: schema.QuantizationParametersT
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """The levels of weights on grids of 4 bits, and the grids' scales."""
    scales = np.asarray(grid.scale, np.float64)
    axis = int(grid.quantizedDimension) if len(scales) > 1 else 0
    rows = np.moveaxis(levels, axis, 0).reshape(len(scales), -1) * scales[:, None]
    largest = np.abs(rows).max(1)
    best = np.where(largest > 0, largest / _LEVELS, scales)
    least = np.full(len(scales), np.inf)
    for share in _ENDS:
        tried = np.where(largest > 0, share * largest / _LEVELS, scales)
        error = ((_on_grid(rows, tried) * tried[:, None] - rows) ** 2).sum(1)
        best, least = np.where(error < least, tried, best), np.minimum(error, least)
    best = best.astype(np.float32).astype(np.float64)
    shape = np.moveaxis(levels, axis, 0).shape
    found = _on_grid(rows, best).astype(np.int8).reshape(shape)
    return np.ascontiguousarray(np.moveaxis(found, 0, axis)), best


def _on_grid(rows: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(rows / scales[:, None]), -_LEVELS, _LEVELS)


def packed_levels(levels: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two levels a byte, the first in the lower half."""
    flat = levels.ravel().astype(np.uint8) & 0xF
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return np.asarray(flat[::2] | (flat[1::2] << 4), np.uint8)


def _rescaled_bias(
    model: schema.ModelT, graph: schema.SubGraphT, tensor: int, factor: NDArray[np.float64]
) -> int:
    """A bias of its own in the unit of other weights; the new tensor's place."""
    bias = copy.deepcopy(graph.tensors[tensor])
    counts = numbers(model, bias, "<i4").astype(np.float64) * factor
    bias.quantization.scale = np.asarray(bias.quantization.scale, np.float64) / factor
    bias.quantization.scale = bias.quantization.scale.astype(np.float32)
    limit = 2.0**31 - 1
    bias.buffer = stored(model, np.clip(np.rint(counts), -limit, limit).astype("<i4"))
    bias.name = f"{bias.name.decode()}_int4".encode()
    graph.tensors.append(bias)
    return len(graph.tensors) - 1


def numbers(model: schema.ModelT, tensor: schema.TensorT, kind: str) -> NDArray[Any]:
    """A constant's numbers in the shape of its tensor."""
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    return np.frombuffer(data.tobytes(), kind).reshape(tensor.shape)


def with_options(content: bytes) -> bytes:
    """A file whose DEQUANTIZE operators have the table of options that OpenVINO reads in each.

    The table is empty; TensorFlow's converter writes it, the quantiser doesn't.

    Args:
        content: A TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds, kind = operator_kinds(model), schema.BuiltinOptions.DequantizeOptions
    bare = [
        operator
        for graph in model.subgraphs
        for operator in graph.operators
        if kinds[operator.opcodeIndex] == "DEQUANTIZE" and operator.builtinOptions is None
    ]
    for operator in bare:
        operator.builtinOptionsType = kind
        operator.builtinOptions = schema.DequantizeOptionsT()
    return packed(model, len(content)) if bare else content


def with_alike_parts(content: bytes) -> bytes:
    """A file in which the parts of a tensor have one type, those that nothing reads as well.

    The quantiser leaves the latter in floats, such as the forget gate of an LSTM's first step, and
    LiteRT aborts there.

    Args:
        content: A TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds, changed = operator_kinds(model), False
    for graph in model.subgraphs:
        for operator in graph.operators:
            if kinds[operator.opcodeIndex] not in _PARTING:
                continue
            whole = graph.tensors[int(operator.inputs[_PARTING[kinds[operator.opcodeIndex]]])]
            for part in (graph.tensors[int(tensor)] for tensor in operator.outputs):
                if part.type != whole.type:
                    part.type, part.quantization = whole.type, whole.quantization
                    changed = True
    return packed(model, len(content)) if changed else content
