"""The graph of a `.tflite` file, read without running it.

Source: the schema that LiteRT ships (`ai_edge_litert.schema_py_generated`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema
    from numpy.typing import NDArray

# Bits of one element by TensorType; strings and resources have no size of their own.
_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "INT32": 32, "UINT8": 8, "INT64": 64, "BOOL": 8, "INT16": 16,
    "COMPLEX64": 64, "INT8": 8, "FLOAT64": 64, "COMPLEX128": 128, "UINT64": 64, "UINT32": 32,
    "UINT16": 16, "INT4": 4, "BFLOAT16": 16, "INT2": 2, "UINT4": 4,
}  # fmt: skip

# Metadata that interpreters of microcontrollers obey: where tensors lie in the arena.
MEMORY_PLAN = "OfflineMemoryAllocation"

# Constants lie at multiples of it, on which vector instructions of some kernels rely: the schema's
# `force_align`, which its generated Python code leaves out.
_ALIGNMENT = 16


@dataclass(frozen=True)
class Tensor:
    """One tensor of the main graph.

    Attributes:
        index: Its position in the file.
        name: Its name.
        shape: Sizes, with 1 for a free one.
        free: The axes whose size is free.
        type: TensorType by name.
        bytes: Size in memory.
        constant: Whether its values are in the file.
        variable: Whether it keeps its values between inferences.
        scales: How many scales its numbers are quantised by; 0 for floats.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    free: tuple[int, ...]
    type: str
    bytes: int
    constant: bool
    variable: bool
    scales: int


@dataclass(frozen=True)
class Operator:
    """One operator: its name (BuiltinOperator, or the custom code) and its tensors by index."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TFLiteGraph:
    """One graph of a file; `subgraphs` counts all of the file's, those of control flow too.

    `plan` has where each tensor lies in the arena of a microcontroller, -1 for any place; it is
    empty where the file has no plan.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    plan: tuple[int, ...] = ()

    @property
    def operator_names(self) -> tuple[str, ...]:
        """The distinct operators, sorted."""
        return tuple(sorted({operator.name for operator in self.operators}))


def read_graph(path: Path | str) -> TFLiteGraph:
    """Read the main graph of a `.tflite` file.

    Raises:
        InputError: The file isn't a TensorFlow Lite model, or is damaged.
    """
    with undamaged(path):
        return graph_of(read_model(path))


def read_model(path: Path | str) -> schema.Model:
    """A `.tflite` file by its schema (`schema.Model`); inside `undamaged`.

    Raises:
        InputError: The file isn't a TensorFlow Lite model.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = Path(path).read_bytes()
    if data[4:8] != b"TFL3":
        raise InputError(f"'{path}' is not a TensorFlow Lite model")
    return schema.Model.GetRootAs(data, 0)


def packed(model: schema.ModelT, size: int = 1024, share: bool = False) -> bytes:
    """A model of the schema's object form (`schema.ModelT`) as the bytes of a file.

    Args:
        model: The model.
        size: About how many bytes it takes.
        share: Store vectors of equal content once, as FlatBuffers' "Internals" page allows; for
            files that nobody changes in place any more.
    """
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(size)
            self.found: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:
            key = (x.dtype.str, sha256(x.tobytes()).digest()) if share else ("", b"")
            if key in self.found:
                return self.found[key]
            if x.dtype == "uint8":
                self.Prep(_ALIGNMENT, x.size)
            place: int = super().CreateNumpyVector(x)
            if share:
                self.found[key] = place
            return place

    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def share_vectors(path: Path) -> None:
    """Store vectors of equal content once in a TFLite file, such as the zero points of weights."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if any(buffer.offset or buffer.size for buffer in model.buffers):
        return  # constants lie behind the tables, where only very large models keep them
    smaller = packed(model, len(content), share=True)
    if len(smaller) < len(content):
        path.write_bytes(smaller)


def add_metadata(model: schema.ModelT, name: str, content: NDArray[np.uint8]) -> None:
    """Put a named piece of metadata into a model of the schema's object form."""
    from ai_edge_litert import schema_py_generated as schema

    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = content
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]


def operator_kinds(model: schema.ModelT) -> list[str]:
    """The names of a model's operators, each at the index that operators give of it."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    # Old files hold the code in a byte, new ones beside it in an integer.
    codes = (max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes)
    return [names.get(code, "") for code in codes]


@contextmanager
def undamaged(path: Path | str) -> Iterator[None]:
    """What reading damaged data raises, as one line."""
    try:
        yield
    except InputError:  # says more already
        raise
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(
            f"'{path}' is a damaged TensorFlow Lite model",
            "it is truncated: copy or download it again",
        ) from None


def graph_of(model: schema.Model, subgraph: int = 0) -> TFLiteGraph:
    """A graph of a model: the main one, or the body of a loop or branch."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.Subgraphs(subgraph)
    types = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    codes = [
        _operator_name(model.OperatorCodes(i), schema) for i in range(model.OperatorCodesLength())
    ]
    return TFLiteGraph(
        tensors=tuple(
            _tensor(model, graph.Tensors(i), i, types) for i in range(graph.TensorsLength())
        ),
        operators=tuple(
            Operator(codes[op.OpcodeIndex()], _ints(op.InputsAsNumpy()), _ints(op.OutputsAsNumpy()))
            for op in (graph.Operators(i) for i in range(graph.OperatorsLength()))
        ),
        inputs=_ints(graph.InputsAsNumpy()),
        outputs=_ints(graph.OutputsAsNumpy()),
        subgraphs=model.SubgraphsLength(),
        plan=_plan(model, subgraph),
    )


def _plan(model: schema.Model, subgraph: int) -> tuple[int, ...]:
    """The memory plan of a graph: a version, the graph, how many tensors, an offset for each.

    Source: docs/memory_management.md of tensorflow/tflite-micro.
    """
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() != MEMORY_PLAN.encode():
            continue
        content = model.Buffers(entry.Buffer()).DataAsNumpy()
        values = () if isinstance(content, int) else _ints(content.view("<i4"))
        if values[1:3] == (subgraph, model.Subgraphs(subgraph).TensorsLength()):
            return values[3:]
    return ()


def _ints(array: Any) -> tuple[int, ...]:
    """Indices; the reader gives the number 0 for an empty vector."""
    return () if isinstance(array, int) else tuple(int(v) for v in array)


def _operator_name(code: schema.OperatorCode, schema: ModuleType) -> str:
    # Old files hold the code in a byte, new ones beside it in an integer.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM and code.CustomCode():
        return str(code.CustomCode().decode())
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    return str(names.get(number, f"OPERATOR_{number}"))


def _tensor(
    model: schema.Model, tensor: schema.Tensor, index: int, types: dict[int, str]
) -> Tensor:
    shape = _ints(tensor.ShapeAsNumpy())
    signature = _ints(tensor.ShapeSignatureAsNumpy())
    sizes = tuple(abs(size) for size in shape)
    kind = types.get(tensor.Type(), "UNKNOWN")
    buffer = model.Buffers(tensor.Buffer())
    quantization = tensor.Quantization()
    return Tensor(
        index=index,
        name=(tensor.Name() or b"").decode(errors="replace"),
        shape=sizes,
        free=tuple(axis for axis, size in enumerate(signature or shape) if size < 0),
        type=kind,
        bytes=math.ceil(math.prod(sizes) * _BITS.get(kind, 0) / 8),
        constant=buffer.DataLength() > 0 or buffer.Size() > 0,
        variable=bool(tensor.IsVariable()),
        scales=0 if quantization is None else int(quantization.ScaleLength()),
    )
