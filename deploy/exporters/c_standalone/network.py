"""A TFLite file as what its C source is made from: values, steps, and where values lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import TFLiteGraph, graph_of, read_model, undamaged
from edgepress.benchmarks.tflite.planning.memory_plan import search_layout
from edgepress.deploy.exporters.exporter import Unsupported

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

# Operators that change the shape alone: what they give is what they take.
SAME_VALUES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
_TYPES = {"INT8": np.int8, "INT32": np.int32, "INT64": np.int64, "FLOAT32": np.float32}


@dataclass(frozen=True)
class Value:
    """A tensor.

    Attributes:
        name: Its name.
        source: Its position in the file; of what only has another shape, that of what it is.
        shape: Its sizes.
        type: TensorType by name.
        scales: One for all its numbers, or one for each channel; empty for floats.
        zero_point: The integer that stands for 0.
        numbers: What the file holds of it, in its shape; None for activations.
    """

    name: str
    source: int
    shape: tuple[int, ...]
    type: str
    scales: NDArray[np.float32]
    zero_point: int
    numbers: NDArray[Any] | None

    @property
    def scale(self) -> np.float32:
        """The scale of all its numbers."""
        return np.float32(self.scales[0])

    def described(self) -> dict[str, Any]:
        """Name, shape and type, as a runtime describes an input or output."""
        return {
            "name": self.name,
            "tensor": self.name,
            "shape": list(self.shape),
            "dtype": self.type.lower(),
            "scale": float(self.scale) if len(self.scales) else None,
            "zero_point": self.zero_point if len(self.scales) else None,
        }

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Step:
    """An operator: its position in the file, its kind, its tensors and its options."""

    position: int
    kind: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    options: Any

    def given(self, place: int) -> Value:
        """An input that has to be there."""
        value = self.inputs[place]
        if value is None:
            raise Unsupported(f"c-standalone has no {self.kind} without its input {place}")
        return value

    def constant(self, place: int) -> NDArray[Any]:
        """The numbers of an input that the file has to hold."""
        numbers = self.given(place).numbers
        if numbers is None:
            raise Unsupported(
                f"c-standalone has no {self.kind} whose input {place} is computed; --format c has"
            )
        return numbers


@dataclass(frozen=True)
class Network:
    """A network whose memory is laid out.

    Attributes:
        steps: What runs, in this order.
        inputs: Inputs of the network.
        outputs: Its outputs.
        offsets: Where activations lie in the arena, by their `source`.
        arena_bytes: Size of the arena.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    offsets: Mapping[int, int]
    arena_bytes: int


def read_network(path: Path) -> Network:
    """Read a file and lay out its memory.

    Args:
        path: A `.tflite` file of one sample at a time.

    Raises:
        Unsupported: It has control flow or keeps state.
    """
    from ai_edge_litert import schema_py_generated as schema

    with undamaged(path):
        graph = graph_of(read_model(path))
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    if graph.subgraphs > 1 or any(tensor.variable for tensor in graph.tensors):
        raise Unsupported(
            "c-standalone has no control flow and keeps no state from call to call; --format c has"
        )
    same = _same(graph)
    values = [_value(graph, model, tensor, same) for tensor in range(len(graph.tensors))]
    kept = [i for i, op in enumerate(graph.operators) if op.name not in SAME_VALUES]
    layout = search_layout(_laid_out(graph, same, kept))
    steps = (_step(graph, model, values, kept[i]) for i in layout.order)
    return Network(
        tuple(steps),
        tuple(values[i] for i in graph.inputs),
        tuple(values[i] for i in graph.outputs),
        {tensor: offset for tensor, offset in enumerate(layout.offsets) if offset >= 0},
        layout.arena_bytes,
    )


def _same(graph: TFLiteGraph) -> dict[int, int]:
    """For what only has another shape: the tensor that it is."""
    found: dict[int, int] = {}
    for operator in graph.operators:
        if operator.name in SAME_VALUES:
            given = operator.inputs[0]
            found[operator.outputs[0]] = found.get(given, given)
    return found


def _laid_out(graph: TFLiteGraph, same: Mapping[int, int], kept: Sequence[int]) -> TFLiteGraph:
    """The graph as its memory is planned: what is elsewhere counts as constant."""

    def sources(tensors: Sequence[int]) -> tuple[int, ...]:
        return tuple(same.get(tensor, tensor) for tensor in tensors)

    operators = [graph.operators[i] for i in kept]
    return replace(
        graph,
        plan=(),
        # Floats are at the ends alone, where the caller holds them.
        tensors=tuple(replace(t, constant=t.constant or t.type != "INT8") for t in graph.tensors),
        operators=tuple(replace(op, inputs=sources(op.inputs)) for op in operators),
        outputs=sources(graph.outputs),
    )


def _value(graph: TFLiteGraph, model: schema.ModelT, index: int, same: Mapping[int, int]) -> Value:
    tensor, source = graph.tensors[index], same.get(index, index)
    stored = model.subgraphs[0].tensors[source]
    if stored.sparsity is not None:
        raise Unsupported("c-standalone has no weights without their zeros; --format c has")
    grid = model.subgraphs[0].tensors[index].quantization
    scaled = grid is not None and grid.scale is not None
    offset = grid is not None and grid.zeroPoint is not None and len(grid.zeroPoint) > 0
    numbers = None
    if graph.tensors[source].constant:
        data = model.buffers[stored.buffer].data
        if data is None or tensor.type not in _TYPES:
            raise Unsupported(f"c-standalone has no such constants of {tensor.type.lower()}")
        numbers = np.asarray(data, np.uint8).view(_TYPES[tensor.type]).reshape(tensor.shape)
    return Value(
        tensor.name,
        source,
        tensor.shape,
        tensor.type,
        np.asarray(grid.scale if scaled else [], np.float32),
        int(grid.zeroPoint[0]) if offset else 0,
        numbers,
    )


def _step(graph: TFLiteGraph, model: schema.ModelT, values: Sequence[Value], position: int) -> Step:
    operator = graph.operators[position]
    return Step(
        position,
        operator.name,
        tuple(values[i] if i >= 0 else None for i in operator.inputs),
        tuple(values[i] for i in operator.outputs),
        model.subgraphs[0].operators[position].builtinOptions,
    )
