"""TFLite files without what no interpreter reads: the smallest flash for the same network.

A converter stores a name for every tensor, a signature, metadata about itself, the range that each
scale came from, an empty buffer for every activation, and every constant as often as it is used.
None of that changes an output. Constants are written in the order in which operators read them, so
that flash is read from front to back.

Source: schema.fbs of LiteRT; MicroAllocator and MicroInterpreter of tensorflow/tflite-micro, for
which fields are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import MEMORY_PLAN, packed
from edgepress.compress.kernel.files import atomic_output

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema


def make_lean(path: Path, fixed_shapes: bool = False) -> None:
    """Replace a TFLite file by one that computes the same with fewer bytes; see `lean`."""
    content = lean(path.read_bytes(), fixed_shapes)
    with atomic_output(path, force=True) as written:
        written.write_bytes(content)


def lean(content: bytes, fixed_shapes: bool = False) -> bytes:
    """A file that computes the same with fewer bytes.

    Inputs and outputs keep the names of the signature, by which data is given to several of them.

    Args:
        content: A TFLite file.
        fixed_shapes: Leave out which sizes are free: for interpreters that take one sample.

    Returns:
        The file; the given bytes where they are no more.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if any(buffer.offset or buffer.size for buffer in model.buffers):
        return content  # constants lie behind the tables, where only very large models keep them
    names = _names(model)
    # The only metadata that an interpreter obeys.
    plan = [m for m in model.metadata or () if _text(m.name) == MEMORY_PLAN]
    model.description = model.signatureDefs = model.metadataBuffer = None
    model.metadata = plan or None
    for number, graph in enumerate(model.subgraphs):
        graph.name = None
        for index, tensor in enumerate(graph.tensors):
            _strip(tensor, fixed_shapes)
            tensor.name = names.get(index) if number == 0 else None
    # A plan counts tensors by their place.
    for graph in () if plan else model.subgraphs:
        _drop_unused_tensors(graph)
    _share_codes(model)
    _share_buffers(model)
    smaller = packed(model, len(content), share=True)
    return smaller if len(smaller) < len(content) else content


def _names(model: schema.ModelT) -> dict[int, str]:
    """Names of the inputs and outputs of the main graph by tensor: the signature's, else theirs."""
    graph = model.subgraphs[0]
    ends = (*graph.inputs, *graph.outputs)
    names = {int(i): _text(graph.tensors[i].name) for i in ends}
    for definition in model.signatureDefs or ():
        sides = (*(definition.inputs or ()), *(definition.outputs or ()))
        names |= {int(t.tensorIndex): _text(t.name) for t in sides}
    return {index: name for index, name in names.items() if name}


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def _strip(tensor: schema.TensorT, fixed_shapes: bool) -> None:
    shape, signature = tensor.shape, tensor.shapeSignature
    if fixed_shapes or (signature is not None and np.array_equal(shape, signature)):
        tensor.shapeSignature = None
    quantization = tensor.quantization
    if quantization is None:
        return
    quantization.min = quantization.max = None
    if quantization.scale is None and quantization.details is None:
        tensor.quantization = None


def _drop_unused_tensors(graph: schema.SubGraphT) -> None:
    used = sorted({int(i) for numbers in _numbers(graph) for i in numbers if i >= 0})
    places = {old: new for new, old in enumerate(used)}
    graph.tensors = [graph.tensors[i] for i in used]
    graph.inputs, graph.outputs = _moved(graph.inputs, places), _moved(graph.outputs, places)
    for operator in graph.operators or ():
        operator.inputs = _moved(operator.inputs, places)
        operator.outputs = _moved(operator.outputs, places)
        operator.intermediates = _moved(operator.intermediates, places)


def _numbers(graph: schema.SubGraphT) -> Iterator[Iterable[int]]:
    """All lists of tensors in a graph."""
    yield from (graph.inputs, graph.outputs)
    for operator in graph.operators or ():
        yield from (operator.inputs, operator.outputs)
        yield () if operator.intermediates is None else operator.intermediates


def _moved(numbers: Iterable[int] | None, places: dict[int, int]) -> NDArray[np.int32] | None:
    # -1 stands for an operand that is left out.
    return None if numbers is None else np.array([places.get(int(i), -1) for i in numbers], "<i4")


def _share_codes(model: schema.ModelT) -> None:
    """List each operator code once, and only those in use."""
    places: dict[tuple[Any, ...], int] = {}
    kept: list[schema.OperatorCodeT] = []
    for operator in _operators(model):
        code = model.operatorCodes[operator.opcodeIndex]
        key = (code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version)
        if key not in places:
            places[key] = len(kept)
            kept.append(code)
        operator.opcodeIndex = places[key]
    model.operatorCodes = kept


def _operators(model: schema.ModelT) -> Iterator[schema.OperatorT]:
    for graph in model.subgraphs:
        yield from graph.operators or ()


def _share_buffers(model: schema.ModelT) -> None:
    """Store each constant once; the first buffer is the empty one.

    A file is written from its end: what operators read first comes last in the list.
    """
    empty, old = model.buffers[0], model.buffers
    empty.data = None
    kept, places = [empty], {b"": 0}

    def place(number: int) -> int:
        buffer = old[number]
        content = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        if content not in places:
            places[content] = len(kept)
            kept.append(buffer)
        return places[content]

    holders = [*_by_use(model), *(model.metadata or ())]
    for holder in holders:
        holder.buffer = place(holder.buffer)
    model.buffers = [empty, *kept[:0:-1]]
    for holder in holders:
        holder.buffer = holder.buffer and len(kept) - holder.buffer


def _by_use(model: schema.ModelT) -> Iterator[schema.TensorT]:
    """All tensors, those first that operators read first."""
    for graph in model.subgraphs:
        read = (int(i) for operator in graph.operators or () for i in operator.inputs if i >= 0)
        for index in dict.fromkeys((*read, *range(len(graph.tensors)))):
            yield graph.tensors[index]
