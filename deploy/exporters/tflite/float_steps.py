"""Floats that a converter rounds on their way from one float operator to the next.

TFLite's quantiser keeps the operators that it is told to in floats, yet leaves a QUANTIZE and a
DEQUANTIZE behind a softmax: what it gives for the next float operator is rounded to 1/256, in which
the classes of a detector's background are lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from edgepress.benchmarks.tflite.graph import operator_kinds, packed

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema


def without_rounding(content: bytes, inputs: Collection[str] = ()) -> bytes:
    """A file whose floats go from operator to operator as they are.

    Args:
        content: A TFLite file.
        inputs: Tensors' names of those inputs that float operators read as they are too; others
            are rounded for a reason, by a scale of their own.

    Returns:
        The file; the same bytes where no floats were rounded between two operators.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds = operator_kinds(model)
    changed = [_mend(graph, kinds, schema.TensorType.FLOAT32, inputs) for graph in model.subgraphs]
    return packed(model, len(content)) if any(changed) else content


def _mend(graph: schema.SubGraphT, kinds: list[str], floats: int, inputs: Collection[str]) -> bool:
    """Whether operators read rounded floats, and read them as they are now."""
    made = {int(output) for op in graph.operators for output in op.outputs}
    origin: dict[int, int] = {}
    for before, op in _pairs(graph, kinds, ("QUANTIZE", "DEQUANTIZE")):
        source, target = int(before.inputs[0]), int(op.outputs[0])
        plain = source in made or graph.tensors[source].name.decode() in inputs
        if plain and graph.tensors[source].type == graph.tensors[target].type == floats:
            origin[target] = source
    read = {int(i) for op in graph.operators for i in op.inputs}
    if not origin.keys() & read:
        return False
    _read_origins(graph, kinds, origin, ("DEQUANTIZE", "QUANTIZE"))
    return True


def _pairs(
    graph: schema.SubGraphT, kinds: list[str], wanted: tuple[str, str]
) -> Iterator[tuple[schema.OperatorT, schema.OperatorT]]:
    """Operators of two kinds, the second of which reads the first."""
    makers = {int(made): op for op in graph.operators for made in op.outputs}
    first, second = wanted
    for op in graph.operators:
        if kinds[op.opcodeIndex] != second:
            continue
        before = makers.get(int(op.inputs[0]))
        if before is not None and kinds[before.opcodeIndex] == first:
            yield before, op


def _read_origins(
    graph: schema.SubGraphT, kinds: list[str], origin: Mapping[int, int], steps: Sequence[str]
) -> None:
    """Let operators read tensors where they come from, and drop the steps that nothing reads.

    Args:
        graph: Changed.
        kinds: As `operator_kinds`.
        origin: For tensors, what is read instead.
        steps: Kinds of operators that may go, those later in the graph first.
    """
    for op in graph.operators:
        op.inputs = [origin.get(int(i), int(i)) for i in op.inputs]
    for step in steps:
        read = {int(i) for op in graph.operators for i in op.inputs} | set(map(int, graph.outputs))
        graph.operators = [
            op
            for op in graph.operators
            if kinds[op.opcodeIndex] != step or any(int(i) in read for i in op.outputs)
        ]


def without_detours(content: bytes) -> bytes:
    """A file without the negations, twice each, that lead floats around the quantiser.

    Args:
        content: A TFLite file made of a graph with `FloatsFrom` in it.

    Returns:
        The file; the same bytes where there are none.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds, graph = operator_kinds(model), model.subgraphs[0]
    origin = {
        int(op.outputs[0]): int(before.inputs[0])
        for before, op in _pairs(graph, kinds, ("NEG", "MUL"))
        if int(op.outputs[0]) not in graph.outputs
        and _is_minus_one(model, graph.tensors[int(op.inputs[1])])
    }
    if not origin:
        return content
    _read_origins(graph, kinds, origin, ("MUL", "NEG"))
    return packed(model, len(content))


def _is_minus_one(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    import numpy as np

    data = model.buffers[tensor.buffer].data
    if data is None or len(data) != 4:
        return False
    return float(np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<f4")[0]) == -1.0
