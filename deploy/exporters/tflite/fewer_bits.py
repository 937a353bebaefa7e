"""Float TFLite files' kernels in fewer bits, rounded with a view to what they are multiplied with.

ai-edge-quantizer rounds each weight to the nearest level of a grid that reaches its output's
largest; of 4 bits, that cost ResNet-8 a third of its accuracy. Here the numbers in its files of 4
bits are set anew: the smallest kernels have 8 bits, the others are rounded by `minding_inputs`
where there are samples, and biases take back what that adds to the mean of the outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import operator_kinds, packed
from edgepress.deploy.exporters.tflite.stored_weights import (
    empty_unread,
    numbers,
    packed_levels,
    stored,
)
from edgepress.deploy.quantize.rounding import Array, minding_inputs, nearest

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

Samples = Iterable[Mapping[str, NDArray[Any]]]
# Share of all weights that the smallest kernels may be to have 8 bits: first and depthwise
# convolutions and classifiers are small, and lose most by 4.
_SMALL = 0.05
_LEVELS = {4: 7, 8: 127}
_CONVOLUTION, _DEPTHWISE, _DENSE = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"
# Numbers in all second moments together, and places of a feature map that are looked at in each
# sample.
_MOST_MOMENTS = 2**26
_PLACES = 64


@dataclass
class _Inputs:
    """What the kernels of an operator are multiplied with.

    Attributes:
        moments: (groups, weights, weights) sums of products; one group but for depthwise kernels.
        sums: (groups, weights) sums.
        count: Of what.
    """

    moments: Array
    sums: Array
    count: int = 0

    def add(self, rows: Array) -> None:
        """Count further inputs."""
        by_group = rows.astype(np.float64).transpose(1, 0, 2)
        self.moments += by_group.transpose(0, 2, 1) @ by_group
        self.sums += by_group.sum(1)
        self.count += rows.shape[0]

    @property
    def means(self) -> Array:
        """Of the inputs."""
        return self.sums / self.count

    def second(self, centred: bool) -> Array:
        """Second moments; about the mean where a bias takes that up."""
        found = self.moments / self.count
        return found - self.means[:, :, None] * self.means[:, None, :] if centred else found


def with_least_loss(content: bytes, whole: bytes, samples: Samples | None) -> bytes:
    """A file of int4 weights with the numbers that lose least.

    Args:
        content: What ai-edge-quantizer made of `whole`: weights in 4 bits behind DEQUANTIZE.
        whole: The float file.
        samples: Inputs by name of the signature, as the file takes them; None without data.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    before = schema.ModelT.InitFromPackedBuf(whole, 0)
    seen = {} if samples is None else _seen(before, whole, samples)
    graphs = zip(model.subgraphs, before.subgraphs, strict=True)
    for place, (graph, float_graph) in enumerate(graphs):
        _renew(model, graph, _constants(before, float_graph), seen if place == 0 else {})
    empty_unread(model)
    return packed(model, len(content))


def _renew(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    floats: Mapping[bytes, Array],
    seen: Mapping[bytes, _Inputs],
) -> None:
    """Set the numbers of a graph's kernels of 4 bits anew."""
    from ai_edge_litert import schema_py_generated as schema

    kernels = [
        tensor for tensor in graph.tensors
        if tensor.type == schema.TensorType.INT4
        and tensor.name in floats
        and floats[tensor.name].shape == tuple(tensor.shape)
    ]  # fmt: skip
    budget = _SMALL * sum(floats[tensor.name].size for tensor in kernels)
    biases = _biases(model, graph)
    for tensor in sorted(kernels, key=lambda t: floats[t.name].size):
        budget -= floats[tensor.name].size
        bits = 8 if budget >= 0 else 4
        values, axis = floats[tensor.name], int(tensor.quantization.quantizedDimension)
        bias = biases.get(tensor.name)
        inputs = seen.get(tensor.name) if bits < 8 else None
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        levels, scales = _rounded(rows, inputs, bits, bias is not None)
        if bias is not None and inputs is not None:
            error = rows - levels * scales[:, None]
            shift = (error * inputs.means).sum(1).astype("<f4")
            bias.buffer = stored(model, numbers(model, bias, "<f4") + shift)
        shape = np.moveaxis(values, axis, 0).shape
        whole = np.moveaxis(levels.reshape(shape), 0, axis).astype(np.int8)
        tensor.quantization.scale = scales.astype(np.float32)
        tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        tensor.buffer = stored(model, packed_levels(whole) if bits == 4 else whole)
        tensor.type = schema.TensorType.INT4 if bits == 4 else schema.TensorType.INT8


def _rounded(rows: Array, inputs: _Inputs | None, bits: int, centred: bool) -> tuple[Array, Array]:
    if inputs is None or not inputs.count:
        return nearest(rows, _LEVELS[bits])
    moments = inputs.second(centred)
    if len(moments) == 1:
        return minding_inputs(rows, moments[0], _LEVELS[bits])
    pairs = zip(rows, moments, strict=True)
    levels, scales = zip(*(minding_inputs(row[None], m, _LEVELS[bits]) for row, m in pairs),
                         strict=True)  # fmt: skip
    return np.concatenate(levels), np.concatenate(scales)


def _constants(model: schema.ModelT, graph: schema.SubGraphT) -> dict[bytes, Array]:
    """Float constants of two axes and more, by a name that only one has."""
    from ai_edge_litert import schema_py_generated as schema

    found: dict[bytes, list[NDArray[Any]]] = {}
    for tensor in graph.tensors:
        kept = model.buffers[tensor.buffer].data is not None
        if kept and tensor.type == schema.TensorType.FLOAT32 and len(tensor.shape) > 1:
            found.setdefault(tensor.name, []).append(numbers(model, tensor, "<f4"))
    return {name: arrays[0] for name, arrays in found.items() if len(arrays) == 1}


def _biases(model: schema.ModelT, graph: schema.SubGraphT) -> dict[bytes, schema.TensorT]:
    """The bias that belongs to a kernel of 4 bits alone, by the kernel's name."""
    kinds = operator_kinds(model)
    unpacked = {
        int(o.outputs[0]): graph.tensors[int(o.inputs[0])].name
        for o in graph.operators
        if kinds[o.opcodeIndex] == "DEQUANTIZE"
    }
    readers: dict[int, list[bytes]] = {}
    for operator in graph.operators:
        for tensor in operator.inputs:
            named = len(operator.inputs) > 2 and int(operator.inputs[1]) in unpacked
            own = named and int(tensor) == int(operator.inputs[2])
            kernel = unpacked[int(operator.inputs[1])] if own else b""
            readers.setdefault(int(tensor), []).append(kernel)
    uses: dict[bytes, int] = {}
    for operator in graph.operators:
        for tensor in operator.inputs:
            if int(tensor) in unpacked:
                uses[unpacked[int(tensor)]] = uses.get(unpacked[int(tensor)], 0) + 1
    return {
        kernels[0]: graph.tensors[tensor]
        for tensor, kernels in readers.items()
        if tensor >= 0
        and len(kernels) == 1
        and kernels[0]
        and uses[kernels[0]] == 1
        and model.buffers[graph.tensors[tensor].buffer].data is not None
    }


def _seen(model: schema.ModelT, content: bytes, samples: Samples) -> dict[bytes, _Inputs]:
    """What the kernels of a float file's main graph are multiplied with, by their names."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph, kinds = model.subgraphs[0], operator_kinds(model)
    readers: dict[bytes, _Reader] = {}
    for operator in graph.operators:
        if reader := _Reader.of(kinds[operator.opcodeIndex], operator, graph, model):
            readers.setdefault(reader.name, reader)
    found: dict[bytes, _Inputs] = {}
    left = _MOST_MOMENTS
    for reader in sorted(readers.values(), key=lambda r: r.groups * r.weights**2):
        left -= reader.groups * reader.weights**2
        if left >= 0:
            moments = np.zeros((reader.groups, reader.weights, reader.weights))
            found[reader.name] = _Inputs(moments, moments[:, 0].copy())
    places = {
        t.name.decode(): int(t.tensorIndex)
        for signature in (model.signatureDefs or ())[:1]
        for t in signature.inputs
    }
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    kinds_of = {d["index"]: d["dtype"] for d in interpreter.get_input_details()}
    rng = np.random.default_rng(0)
    for sample in samples:
        for name, array in sample.items():
            interpreter.resize_tensor_input(places[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in sample.items():
            interpreter.set_tensor(places[name], array.astype(kinds_of[places[name]]))
        interpreter.invoke()
        for kernel, inputs in found.items():
            reader = readers[kernel]
            inputs.add(reader.rows(interpreter.get_tensor(reader.tensor), rng))
    return found


@dataclass(frozen=True)
class _Reader:
    """How an operator reads its input.

    Attributes:
        name: Of its kernel.
        tensor: Its input.
        groups: How many kernels read parts of their own: the channels of a depthwise one, else 1.
        weights: Of each output.
        window: Height and width of the kernel, strides and dilations; none of a dense layer.
        same: Whether the input is padded so that the output has its size.
    """

    name: bytes
    tensor: int
    groups: int
    weights: int
    window: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None
    same: bool

    @classmethod
    def of(
        cls, kind: str, operator: schema.OperatorT, graph: schema.SubGraphT, model: schema.ModelT
    ) -> _Reader | None:
        """The reader of an operator with a kernel of constant floats; None for others."""
        from ai_edge_litert import schema_py_generated as schema

        if kind not in (_CONVOLUTION, _DEPTHWISE, _DENSE):
            return None
        given, kernel = (graph.tensors[int(i)] for i in operator.inputs[:2])
        if model.buffers[kernel.buffer].data is None:
            return None
        shape = [int(size) for size in kernel.shape]
        if kind == _DENSE:
            return cls(kernel.name, int(operator.inputs[0]), 1, shape[1], None, False)
        options, channels = operator.builtinOptions, int(given.shape[-1])
        deep = kind == _DEPTHWISE
        if shape[-1] != channels:  # grouped, or several kernels for each channel
            return None
        return cls(
            kernel.name,
            int(operator.inputs[0]),
            channels if deep else 1,
            shape[1] * shape[2] * (1 if deep else channels),
            (
                (shape[1], shape[2]),
                (options.strideH, options.strideW),
                (options.dilationHFactor, options.dilationWFactor),
            ),
            options.padding == schema.Padding.SAME,
        )

    def rows(self, values: Array, rng: np.random.Generator) -> Array:
        """What drawn outputs are products with, in the order of the kernel's weights."""
        if self.window is None:
            rows = values.reshape(-1, 1, self.weights)
            return rows[rng.permutation(len(rows))[:_PLACES]]
        sizes, strides, dilations = self.window
        wide = [(k - 1) * d + 1 for k, d in zip(sizes, dilations, strict=True)]
        pads = [(0, 0), (0, 0)]
        if self.same:
            lengths = zip(values.shape[1:3], wide, strides, strict=True)
            lacking = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in lengths]
            pads = [(n // 2, n - n // 2) for n in lacking]
        padded = np.pad(values, [(0, 0), *pads, (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(wide), (1, 2))
        windows = windows[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
        drawn = rng.permutation(int(np.prod(windows.shape[:3])))[:_PLACES]
        rows = windows[np.unravel_index(drawn, windows.shape[:3])]
        if self.groups > 1:
            return rows.reshape(len(drawn), self.groups, self.weights)
        return rows.transpose(0, 2, 3, 1).reshape(len(drawn), 1, self.weights)
