"""ONNX files: what they take and give, and the child's part that looks at their operators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks.operators.onnx_work import COUNTED, kernel_macs
from edgepress.compress.counting.einsum import einsum_macs
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.sources.contents.operation import Constant, Operation
from edgepress.deploy.sources.formats.onnx_tensors import check_tensors
from edgepress.deploy.sources.signature import Signature, activation, check_samples

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | None, ...]
_LOOKS_UP = frozenset({"Gather"})
# Domains of operators that ONNX Runtime ships kernels of.
SHIPPED = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
_UNPACKING = frozenset({"DequantizeLinear"})
_MULTIPLIES = COUNTED | {"Einsum"}
_ON_INTEGERS = frozenset(
    {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLSTM"}
)
# Operators that compute in floats whatever stands around them.
_NO_INTEGER_KERNEL = frozenset({"Loop", "If", "Scan", "LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"})
# Operators with matrices of their own whose products have no formula here.
_UNCOUNTED = frozenset({"Attention", "MultiHeadAttention", "DeformConv", "Loop", "If", "Scan"})


def read_onnx(path: Path) -> onnx.ModelProto:
    """An ONNX file without the weights that lie outside of it.

    Raises:
        InputError: It is no ONNX file or damaged, or weights outside of it are missing or lie
            outside of its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        raise InputError(
            f"'{path}' is incomplete or damaged", "copy or download it again"
        ) from None
    if not model.graph.node or not model.graph.output:
        raise InputError(f"'{path}' is not an ONNX model: it holds no graph")
    if (odd := next(_no_text(model.graph), None)) is not None:
        raise InputError(f"'{path}' is damaged: the name {odd!r} in it isn't UTF-8", "get it again")
    check_tensors(model, path)
    check_samples(path, signature(model))
    return model


def _no_text(graph: onnx.GraphProto) -> Iterator[bytes]:
    """Names in a graph and those inside it that aren't UTF-8: protobuf gives those as bytes."""
    tensors = (graph.input, graph.output, graph.value_info, graph.initializer)
    names = [tensor.name for group in tensors for tensor in group]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        for attribute in node.attribute:
            names.append(attribute.name)
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _no_text(inner)
    yield from (name for name in names if isinstance(name, bytes))


def stored_as(model: onnx.ModelProto) -> str:
    """How an ONNX model stores numbers, a name in `PRECISIONS`, as far as it tells."""
    import onnx

    operators = {node.op_type for node in model.graph.node}
    kept = {onnx.TensorProto.DataType.Name(t.data_type) for t in model.graph.initializer}
    if operators & {"MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM"}:
        return "dynamic"
    if operators & {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return "int8"
    if _expanded(model.graph):
        return "int8-weights"
    return "float16" if "FLOAT16" in kept else "float32"


def _expanded(graph: onnx.GraphProto) -> dict[str, str]:
    """What a Cast and a Mul make of something of integers, by the name of the product."""
    import onnx

    stored = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.INT8}
    cast = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Cast" and node.input[0] in stored
    }
    return {
        node.output[0]: cast[node.input[0]]
        for node in graph.node
        if node.op_type == "Mul" and node.input[0] in cast
    }


def signature(model: onnx.ModelProto) -> Signature:
    """What an ONNX model takes and gives."""
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    made = {name: (node.op_type, node.input) for node in graph.node for name in node.output}
    return Signature(
        tuple(_spec(value) for value in graph.input if value.name not in stored),
        tuple(_spec(value) for value in graph.output),
        tuple(activation(value.name, made) for value in graph.output),
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    if kind.elem_type == onnx.TensorProto.STRING:
        return TensorSpec(value.name, _sizes(value), "string")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) if kind.elem_type else "float32"
    return TensorSpec(value.name, _sizes(value), str(np.dtype(dtype).name))


def _sizes(value: onnx.ValueInfoProto) -> Shape:
    return tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim)


def inspect(request: Mapping[str, Any]) -> dict[str, Any]:
    """Look at the operators of an ONNX file; the child's part.

    Args:
        request: `source`, the file.

    Returns:
        `operations` and `notes`.
    """
    import onnx

    model = onnx.load(request["source"])
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        unknown = ""
    except Exception as error:
        unknown = f"shapes inside the graph can't be inferred: {' '.join(str(error).split())[:120]}"
    reader = _Reader(model.graph)
    operations = [dataclasses.replace(o, uncounted=_left_out(o)) for o in reader.operations()]
    notes = [unknown] if unknown else []
    uncounted = sorted({o.type for o in operations if o.macs is None} & _UNCOUNTED)
    if uncounted:
        notes.append(f"the MACs inside {', '.join(uncounted)} are not counted")
    missing = sorted({o.type for o in operations if o.type in _MULTIPLIES and o.macs is None})
    if missing:
        notes.append(f"the MACs of some {', '.join(missing)} aren't known: their sizes aren't")
    return {"operations": [dataclasses.asdict(o) for o in operations], "notes": notes}


def _left_out(operation: Operation) -> str:
    """Why an operation's multiply-accumulates are left out; empty where they aren't."""
    if operation.macs is not None:
        return ""
    if operation.type in _UNCOUNTED:
        return f"what {operation.type} multiplies inside is not counted"
    return "its sizes aren't known" if operation.type in _MULTIPLIES else ""


def gathered(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write an ONNX file with all its weights in it; the child's part.

    Args:
        request: `source` and `out` (files).
    """
    import onnx

    model = onnx.load(request["source"])
    onnx.checker.check_model(model)
    onnx.save(model, request["out"])
    return {}


class _Reader:
    """Walks a graph whose shapes were inferred."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                values = [a.t for a in node.attribute if a.name == "value"]
                self.stored.update(zip(node.output, values, strict=False))
        known = (*graph.input, *graph.value_info, *graph.output)
        self.shapes: dict[str, Shape] = {v.name: _sizes(v) for v in known if _has_shape(v)}
        self.shapes |= {name: tuple(t.dims) for name, t in self.stored.items()}
        self.types = {v.name: _spec(v).dtype for v in known if v.type.HasField("tensor_type")}
        self.unpacked = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type in _UNPACKING and node.input[0] in self.stored
        } | _expanded(graph)
        self.whole = set(self.unpacked.values())
        self.makers = {name: node.op_type for node in graph.node for name in node.output}
        self.readers: dict[str, list[str]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node.op_type)
        self.zeros = {
            node.input[0]: node.input[2]
            for node in graph.node
            if node.op_type in _UNPACKING and len(node.input) > 2 and node.input[2] in self.stored
        }

    def operations(self) -> Iterator[Operation]:
        """The nodes but those that only hold or unpack weights."""
        for node in self.graph.node:
            widened = node.op_type == "Cast" and node.input[0] in self.whole
            if node.op_type == "Constant" or widened or self.unpacked.keys() & set(node.output):
                continue
            yield self._operation(node)

    def _operation(self, node: onnx.NodeProto) -> Operation:
        names = [self.unpacked.get(name, name) for name in node.input]
        constants = [self._constant(name, node, place) for place, name in enumerate(names)]
        first = node.output[0] if node.output else ""
        return Operation(
            name=node.name or first,
            type=_kind(node),
            macs=self._macs(node),
            shape=self.shapes.get(first, ()),
            dtype=self.types.get(first, ""),
            activation_bytes=sum(self._bytes(name) for name in node.output),
            constants=tuple(c for c in constants if c is not None),
            in_floats=self._in_floats(node),
        )

    def _in_floats(self, node: onnx.NodeProto) -> bool:
        """Whether a node computes in floats: not between integers, nor between their scales.

        A runtime computes in integers what stands between DequantizeLinear and QuantizeLinear.
        """
        first = node.output[0] if node.output else ""
        if node.op_type in _NO_INTEGER_KERNEL:
            return True
        if "float" not in self.types.get(first, "float32"):
            return False
        if node.op_type in _ON_INTEGERS:
            return False
        moving = [name for name in node.input if name and name not in self.stored]
        made = all(self.makers.get(name) == "DequantizeLinear" for name in moving)
        readers = self.readers.get(first, [])
        return not (made and readers and all(r == "QuantizeLinear" for r in readers))

    def _macs(self, node: onnx.NodeProto) -> int | None:
        given = [self.shapes.get(name) for name in node.input]
        made = [_ones(self.shapes[name]) for name in node.output if name in self.shapes]
        if not given or given[0] is None or not made:
            return None
        sizes = [_ones(shape) for shape in given]
        if node.op_type == "Loop":
            return self._loop(node)
        if node.op_type != "Einsum":
            return kernel_macs(node.op_type, sizes, made)
        equation = next(a.s.decode() for a in node.attribute if a.name == "equation")
        return None if None in given else einsum_macs(equation, sizes)

    def _loop(self, node: onnx.NodeProto) -> int | None:
        """All rounds of a loop that runs as often as a stored number says; None for others."""
        from onnx import numpy_helper

        times, begins = (self.stored.get(name) for name in node.input[:2])
        body = _Reader(next(a.g for a in node.attribute if a.name == "body"))
        if times is None or not body.goes_on():
            return None
        if node.input[1] and (begins is None or not numpy_helper.to_array(begins).all()):
            return None
        body.shapes = {**self.shapes, **body.shapes}
        inside = list(body.operations())
        hidden = {o.type for o in inside if o.macs is None} & (_UNCOUNTED | _MULTIPLIES)
        if hidden:
            return None
        return int(numpy_helper.to_array(times).reshape(-1)[0]) * sum(o.macs or 0 for o in inside)

    def goes_on(self) -> bool:
        """Whether a loop's body never ends the loop by itself."""
        from onnx import numpy_helper

        name, given = self.graph.output[0].name, self.graph.input[1].name
        makers = {out: node for node in self.graph.node for out in node.output}
        while name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        if name in self.stored:
            return bool(numpy_helper.to_array(self.stored[name]).reshape(-1)[0])
        return bool(name == given)

    def _bytes(self, name: str) -> int:
        dtype = self.types.get(name, "float32")
        if name not in self.shapes or dtype == "string":
            return 0
        return math.prod(_ones(self.shapes[name])) * np.dtype(dtype).itemsize

    def _constant(self, name: str, node: onnx.NodeProto, place: int) -> Constant | None:
        """The stored numbers of an input, or None for activations, sizes, indices and scales."""
        from onnx import numpy_helper

        tensor = self.stored.get(name)
        if tensor is None or (node.op_type.endswith("QuantizeLinear") and place > 0):
            return None
        values = numpy_helper.to_array(tensor)
        quantised = name in self.whole or node.op_type in _ON_INTEGERS
        if values.dtype.kind not in "fV" and not quantised:
            return None
        multiplies = node.op_type in _MULTIPLIES and values.ndim > 1
        looked_up = node.op_type in _LOOKS_UP and place == 0 and values.ndim > 1
        return Constant(
            key=name,
            size=int(values.size),
            bytes=int(values.nbytes),
            dtype=str(values.dtype.name),
            zeros=int(np.count_nonzero(values == self._zero(name))),
            kernel=multiplies or looked_up,
        )

    def _zero(self, name: str) -> int:
        """The stored number that stands for zero: one for all channels, as converters write it."""
        from onnx import numpy_helper

        if name not in self.zeros:
            return 0
        return int(numpy_helper.to_array(self.stored[self.zeros[name]]).reshape(-1)[0])


def _kind(node: onnx.NodeProto) -> str:
    """A node's operator, with the domain of those that ONNX Runtime doesn't ship."""
    return node.op_type if node.domain in SHIPPED else f"{node.domain}::{node.op_type}"


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")


def _ones(shape: Shape | None) -> tuple[int, ...]:
    """A shape with 1 for free sizes."""
    return tuple(size or 1 for size in shape or ())
