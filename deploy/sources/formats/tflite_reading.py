"""TFLite files: what they take and give, and their operators with weights, read without a runtime.

Source: the schema that LiteRT ships (`ai_edge_litert.schema_py_generated`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import (
    Operator,
    Tensor,
    TFLiteGraph,
    graph_of,
    read_model,
    undamaged,
)
from edgepress.benchmarks.tflite.macs import FORMULAS, operator_macs
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.models.guarding.limits import check_memory
from edgepress.deploy.sources.contents.operation import Constant, Operation
from edgepress.deploy.sources.signature import Signature, activation

# Types of numbers that weights are stored in; 4-bit ones are packed, two to a byte.
_STORED = {
    "FLOAT32": "float32", "FLOAT16": "float16", "FLOAT64": "float64", "BFLOAT16": "uint16",
    "INT8": "int8", "UINT8": "uint8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "INT4": "int4",
}  # fmt: skip
_FLOATS = frozenset({"FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16"})
# Operators that only unpack stored numbers: what reads them reads the numbers.
_UNPACKING = frozenset({"DEQUANTIZE", "DENSIFY"})
_LOOKS_UP = frozenset({"GATHER", "EMBEDDING_LOOKUP"})
# Operators whose bodies are graphs of their own.
_REPEATING = frozenset({"WHILE", "IF", "STABLEHLO_WHILE", "CALL_ONCE"})


class TFLiteReader:
    """A `.tflite` file, opened as data.

    Args:
        path: The file.

    Raises:
        InputError: It is no TFLite file, is damaged, keeps numbers in other files, or declares
            more than it holds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with undamaged(path):
            self.model = read_model(path)
            self.graph = graph_of(self.model)
            self._check_files()
            for place, graph in enumerate(self.graphs):
                self._check_sizes(place, graph)

    def _check_files(self) -> None:
        """Refuse what a newer schema allows: numbers that lie in other files.

        Raises:
            InputError: The file names such files.
        """
        for i in range(self.model.ExternalBufferGroupsLength()):
            name = (self.model.ExternalBufferGroups(i).Name() or b"").decode(errors="replace")
            raise InputError(
                f"'{self.path}' keeps numbers in another file, {name[:200]!r}, which isn't read",
                "convert the model again with all its weights in one file",
            )

    def _check_sizes(self, place: int, graph: TFLiteGraph) -> None:
        """Hold the shapes that tensors declare against the bytes that are there.

        Raises:
            InputError: A stored tensor declares more than it holds, or any other more memory than
                a file of this size may take.
        """
        size = self.path.stat().st_size
        for tensor in graph.tensors:
            if not tensor.constant:
                check_memory(self.path, tensor.bytes, size)
                continue
            found = self.model.Subgraphs(place).Tensors(tensor.index)
            held = len(self._buffer(found.Buffer()))
            # A sparse tensor leaves its zeros out, and is unpacked when it is run.
            packed = found.Sparsity() is not None
            check_memory(self.path, tensor.bytes if packed else 0, size)
            if tensor.bytes > held and not packed:
                raise InputError(
                    f"'{self.path}' is damaged: tensor '{tensor.name[:100]}' declares"
                    f" {tensor.bytes:,} bytes and holds {held:,}",
                    "copy or download it again",
                )

    @property
    def graphs(self) -> tuple[TFLiteGraph, ...]:
        """The main graph and the bodies of loops and branches."""
        rest = (graph_of(self.model, i) for i in range(1, self.graph.subgraphs))
        return (self.graph, *rest)

    @property
    def precision(self) -> str:
        """How the file stores numbers, as far as it tells."""
        tensors = [tensor for graph in self.graphs for tensor in graph.tensors]
        kept = {t.type for t in tensors if t.constant}
        # Bytes without a scale are no quantised numbers, but pixels that a float model is given.
        moving = {t.type for t in tensors if not t.constant and t.scales}
        if "INT8" in moving or "UINT8" in moving:
            return "int8"
        if "INT16" in moving:
            return "int16x8"
        if "INT4" in kept:
            return "int4-weights"
        if "INT8" in kept:
            return "dynamic"
        return "float16" if "FLOAT16" in kept else "float32"

    def signature(self) -> Signature:
        """What the file takes and gives, named by its first signature where it has one."""
        with undamaged(self.path):
            sides = [
                tuple(self._spec(index, names.get(index)) for index in indices)
                for indices, names in zip(
                    (self.graph.inputs, self.graph.outputs), self._names(), strict=True
                )
            ]
        made = {i: (op.name, op.inputs) for op in self.graph.operators for i in op.outputs}
        activations = tuple(activation(i, made) for i in self.graph.outputs)
        return Signature(sides[0], sides[1], activations)

    def _names(self) -> tuple[dict[int, str], dict[int, str]]:
        if not self.model.SignatureDefsLength():
            return {}, {}
        first = self.model.SignatureDefs(0)
        given = (first.Inputs(i) for i in range(first.InputsLength()))
        got = (first.Outputs(i) for i in range(first.OutputsLength()))
        inputs, outputs = (
            {m.TensorIndex(): (m.Name() or b"").decode(errors="replace") for m in maps}
            for maps in (given, got)
        )
        return inputs, outputs

    def _spec(self, index: int, name: str | None) -> TensorSpec:
        tensor = self.graph.tensors[index]
        shape = tuple(None if a in tensor.free else s for a, s in enumerate(tensor.shape))
        scales, zeros = self.quantisation(0, index)
        whole = len(scales) and tensor.type not in _FLOATS
        return TensorSpec(
            name or tensor.name,
            shape,
            tensor.type.lower(),
            float(scales[0]) if whole else None,
            int(zeros[0]) if whole else None,
        )

    def quantisation(self, graph: int, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scales and zero points of a tensor; empty where it has none."""
        found = self.model.Subgraphs(graph).Tensors(index).Quantization()
        empty: NDArray[Any] = np.empty(0)
        if found is None or not found.ScaleLength():
            return empty, empty
        scales = found.ScaleAsNumpy()
        points = found.ZeroPointAsNumpy() if found.ZeroPointLength() else np.zeros(len(scales))
        return scales, points

    def operations(self) -> Iterator[Operation]:
        """The operators of all graphs; those that only unpack weights count for what reads them.

        Raises:
            InputError: The file is damaged.
        """
        with undamaged(self.path):
            for place, graph in enumerate(self.graphs):
                unpacked = _unpacked(graph)
                hidden = set(unpacked)
                for operator in graph.operators:
                    if not hidden.isdisjoint(operator.outputs):
                        continue
                    yield self._operation(place, graph, operator, unpacked)

    def _operation(
        self, place: int, graph: TFLiteGraph, operator: Operator, unpacked: dict[int, int]
    ) -> Operation:
        read = [(n, unpacked.get(i, i)) for n, i in enumerate(operator.inputs) if i >= 0]
        constants = [self._constant(place, graph.tensors[i], operator, n) for n, i in read]
        outputs = [graph.tensors[i] for i in operator.outputs]
        first = outputs[0] if outputs else None
        return Operation(
            name=first.name if first else operator.name,
            type=operator.name,
            macs=operator_macs(graph, operator),
            shape=tuple(None if a in first.free else s for a, s in enumerate(first.shape))
            if first
            else (),
            dtype=first.type.lower() if first else "",
            activation_bytes=sum(t.bytes for t in outputs),
            constants=tuple(c for c in constants if c is not None),
            in_floats=any(t.type in _FLOATS for t in outputs),
        )

    def _constant(
        self, place: int, tensor: Tensor, operator: Operator, position: int
    ) -> Constant | None:
        """The stored numbers of a tensor, or None for activations, sizes and indices."""
        if not tensor.constant or tensor.type not in _STORED:
            return None
        scales, points = self.quantisation(place, tensor.index)
        if tensor.type not in _FLOATS and not len(scales):
            return None
        buffer = self.model.Subgraphs(place).Tensors(tensor.index).Buffer()
        values = self.values(place, tensor)
        zero = int(points[0]) if len(points) and tensor.type not in _FLOATS else 0
        multiplies = operator.name in FORMULAS and position > 0
        looked_up = operator.name in _LOOKS_UP and len(tensor.shape) > 1
        return Constant(
            key=str(buffer),
            size=int(np.prod(tensor.shape, dtype=np.int64)),
            bytes=tensor.bytes,
            dtype="bfloat16" if tensor.type == "BFLOAT16" else _STORED[tensor.type],
            zeros=int(np.count_nonzero(values == zero)),
            kernel=(multiplies and len(tensor.shape) > 1) or looked_up,
        )

    def values(self, place: int, tensor: Tensor) -> NDArray[Any]:
        """The stored numbers of a tensor of a graph, one after the other."""
        data = self._buffer(self.model.Subgraphs(place).Tensors(tensor.index).Buffer())
        if tensor.type == "INT4":
            halves = np.stack([data & 15, data >> 4], axis=-1).ravel()
            return ((halves ^ 8).astype(np.int8) - 8)[: int(np.prod(tensor.shape))]
        return np.frombuffer(data.tobytes(), _STORED[tensor.type])

    def _buffer(self, index: int) -> NDArray[np.uint8]:
        """Bytes of a buffer: inside the flatbuffer or, in large files, behind it.

        Raises:
            ValueError: They end behind the file.
        """
        found = self.model.Buffers(index)
        if found.DataLength():
            data: NDArray[np.uint8] = found.DataAsNumpy()
            return data
        begin, size = found.Offset(), found.Size()
        if size <= 1:
            return np.empty(0, np.uint8)
        whole = self.path.stat().st_size
        if begin + size > whole:
            raise ValueError("a buffer ends behind the file")
        return np.fromfile(self.path, np.uint8, count=size, offset=begin)

    def notes(self, operations: Sequence[Operation]) -> Iterator[str]:
        """What the figures don't say."""
        if self.graph.subgraphs > 1:
            yield "loops and branches: each operator inside is counted once, whatever runs"
        custom = sorted({o.type for o in operations if not o.type.isupper()})
        if custom:
            yield f"the MACs of custom operators are not known: {', '.join(custom)}"
        recurrent = sorted({o.type for o in operations if "BIDIRECTIONAL_SEQ" in o.type})
        recurrent = [name for name in recurrent if name not in FORMULAS]
        if recurrent:
            yield f"the MACs of {', '.join(recurrent)} are not counted"


def left_out(operation: Operation) -> str:
    """Why an operator's multiply-accumulates are left out; empty where they aren't."""
    if operation.macs is not None:
        return ""
    if operation.type in _REPEATING:
        return "each operator inside is counted once, whatever runs"
    if not operation.type.isupper():
        return "a custom operator"
    recurrent = "SEQUENCE_RNN" in operation.type or "SEQUENCE_LSTM" in operation.type
    return "no formula is known for it" if recurrent and operation.type not in FORMULAS else ""


def _unpacked(graph: TFLiteGraph) -> dict[int, int]:
    """Tensors that are stored numbers unpacked, each with the tensor that stores them."""
    found: dict[int, int] = {}
    for operator in graph.operators:
        if operator.name in _UNPACKING and operator.inputs and operator.outputs:
            source = found.get(operator.inputs[0], operator.inputs[0])
            if graph.tensors[source].constant:
                found[operator.outputs[0]] = source
    return found
