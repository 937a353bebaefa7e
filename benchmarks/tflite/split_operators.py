"""Cut a `.tflite` file into one file for each operator, so that each can be timed alone.

LiteRT has no profiler that Python can read; an operator in a file of its own is the next best: the
sum over the operators of a MobileNet is within 3 % of the whole.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.tflite.graph import packed, read_graph

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema


def cut_operators(path: Path, folder: Path) -> dict[int, Path]:
    """Write every operator of the main graph that can stand alone into a file of its own.

    Args:
        path: A `.tflite` file.
        folder: Where the files go.

    Returns:
        The files by position of the operator. Left out: what works on variables or other graphs,
        and what has no input that isn't constant.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = read_graph(path)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    found = {}
    for position, operator in enumerate(graph.operators):
        given = [i for i in operator.inputs if i >= 0]
        tensors = [graph.tensors[i] for i in (*given, *operator.outputs)]
        stateful = any(t.variable or t.type in ("RESOURCE", "VARIANT", "STRING") for t in tensors)
        fed = any(not graph.tensors[i].constant for i in given)
        if stateful or not fed or not operator.outputs:
            continue
        target = folder / f"{position:04d}.tflite"
        target.write_bytes(_alone(schema, model, position))
        found[position] = target
    return found


def _alone(schema: ModuleType, model: schema.ModelT, position: int) -> bytes:
    """The bytes of a model that holds one operator."""
    whole = model.subgraphs[0]
    operator = whole.operators[position]
    used = list(dict.fromkeys(i for i in (*operator.inputs, *operator.outputs) if i >= 0))
    place = {old: new for new, old in enumerate(used)}
    empty = schema.BufferT()
    buffers, tensors = [empty], []
    for old in used:
        tensor = _copied(schema.TensorT(), whole.tensors[old])
        tensor.shapeSignature = None
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data):
            tensor.buffer = len(buffers)
            buffers.append(buffer)
        else:
            tensor.buffer = 0
        tensors.append(tensor)

    alone = _copied(schema.OperatorT(), operator)
    alone.opcodeIndex = 0
    alone.inputs = [place[i] if i >= 0 else -1 for i in operator.inputs]
    alone.outputs = [place[i] for i in operator.outputs]

    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [alone]
    graph.inputs = [i for i in dict.fromkeys(alone.inputs) if i >= 0 and not tensors[i].buffer]
    graph.outputs = list(alone.outputs)

    cut = schema.ModelT()
    cut.version = model.version
    cut.operatorCodes = [model.operatorCodes[operator.opcodeIndex]]
    cut.subgraphs, cut.buffers = [graph], buffers
    return packed(cut)


def _copied(new: Any, old: Any) -> Any:
    """A shallow copy of an object of the schema."""
    vars(new).update(vars(old))
    return new
