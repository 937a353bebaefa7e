"""Small int8 TFLite files while they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgepress.benchmarks.tflite.graph import packed

Random = np.random.Generator
# Operators of which there is one version.
_FIRST = ("EXPAND_DIMS", "HARD_SWISH", "RELU_N1_TO_1", "RESHAPE", "SQUEEZE")
_TYPES = {"int8": "INT8", "int32": "INT32", "float32": "FLOAT32"}


def scale_of(random: Random, low: float, high: float, count: int | None = None) -> Any:
    """Drawn scales: any, or hundredths of the highest, among which halves are frequent."""
    if random.random() < 0.5:
        return random.uniform(low, high, count)
    return random.integers(1, 100, count) * high / 100


class Graph:
    """A file while it is built; tensors are numbers."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._buffers, self._tensors, self._operators = [schema.BufferT()], [], []
        self._codes: list[str] = []
        self._inputs: list[int] = []
        self._outputs: list[int] = []

    def tensor(self, shape, scale=None, zero=0, numbers=None, dtype="int8", axis=0) -> int:
        """A tensor; `numbers` make it constant."""
        made = schema.TensorT()
        made.shape, made.type = list(shape), getattr(schema.TensorType, _TYPES[dtype])
        made.name = f"t{len(self._tensors)}".encode()
        made.buffer = 0
        if numbers is not None:
            buffer = schema.BufferT()
            buffer.data = np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)
            made.buffer = len(self._buffers)
            self._buffers.append(buffer)
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(np.float32(scale))
            made.quantization.zeroPoint = np.atleast_1d(zero).astype(np.int64)
            if len(made.quantization.scale) > len(made.quantization.zeroPoint):
                zeros = np.zeros(len(made.quantization.scale), np.int64)
                made.quantization.zeroPoint = zeros
            made.quantization.quantizedDimension = axis
        self._tensors.append(made)
        return len(self._tensors) - 1

    def activation(self, *shape: int, scale=None, zero=None) -> int:
        """An int8 activation with a drawn grid."""
        scale = scale_of(self.random, 0.005, 0.2) if scale is None else scale
        zero = int(self.random.integers(-128, 128)) if zero is None else zero
        return self.tensor(shape, scale, zero)

    def given(self, *shape: int, **grid: Any) -> int:
        """An input of the file."""
        self._inputs.append(self.activation(*shape, **grid))
        return self._inputs[-1]

    def shape_of(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._tensors[tensor].shape)

    def grid_of(self, tensor: int) -> dict[str, Any]:
        grid = self._tensors[tensor].quantization
        return {"scale": grid.scale[0], "zero": int(grid.zeroPoint[0])}

    def numbers(self, values: Any) -> int:
        """A constant of 32-bit integers."""
        values = np.asarray(values, np.int32)
        return self.tensor(values.shape, numbers=values, dtype="int32")

    def operator(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options="",
                 **told: Any) -> None:  # fmt: skip
        """An operator with its options by name."""
        made = schema.OperatorT()
        if kind not in self._codes:
            self._codes.append(kind)
        made.opcodeIndex = self._codes.index(kind)
        made.inputs, made.outputs = list(inputs), list(outputs)
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in told.items():
                assert hasattr(made.builtinOptions, name), name
                setattr(made.builtinOptions, name, value)
        self._operators.append(made)

    def gives(self, *tensors: int) -> None:
        """Outputs of the file."""
        self._outputs += tensors

    def take(self, tensor: int) -> None:
        """Make a tensor an input of the file."""
        self._inputs.append(tensor)

    def content(self) -> bytes:
        """The file."""
        model, graph = schema.ModelT(), schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = self._inputs, self._outputs
        codes = []
        for kind in self._codes:
            code = schema.OperatorCodeT()
            number = getattr(schema.BuiltinOperator, kind)
            code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
            code.version = 1 if kind in _FIRST else 2
            codes.append(code)
        model.version, model.operatorCodes = 3, codes
        model.subgraphs, model.buffers = [graph], self._buffers
        return packed(model)
