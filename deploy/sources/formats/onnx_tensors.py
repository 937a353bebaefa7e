"""What an ONNX file stores, looked through before a runtime or a converter reads it.

A tensor may name another file that holds its numbers ("external data"). Such a file lies in the
model's own folder; a name that leads out of it could carry any file of this machine into an output.
A tensor also declares its shape apart from its numbers, and whoever believes it allocates it.

Source: onnx.proto of ONNX, whose specification of external data allows relative paths alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular

if TYPE_CHECKING:
    import onnx

_TRUSTED = "get it from a source you trust"
_AGAIN = "copy or download it again"
# Bits of the types that are packed, by how their names end.
_PACKED = {"INT2": 2, "INT4": 4, "FLOAT4E2M1": 4}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


@dataclass(frozen=True)
class Outside:
    """Numbers of a tensor that lie in another file.

    Attributes:
        tensor: The tensor's name.
        file: The other file as the model names it.
        begin: Where they begin in it, in bytes.
        length: How many bytes they are; None for all that follow.
    """

    tensor: str
    file: str
    begin: int
    length: int | None


def check_tensors(model: onnx.ModelProto, path: Path) -> None:
    """Hold what all tensors declare against the bytes that are there.

    Args:
        model: The `onnx.ModelProto`, without the numbers that lie outside of it.
        path: Its file.

    Raises:
        InputError: Numbers lie outside of the model's folder, in a file that is missing or no
            regular one, or end before the declared shape does.
    """
    for tensor in stored_tensors(model):
        needed = _declared_bytes(tensor, path)
        outside = _outside(tensor, path)
        held = _inside(tensor, path) if outside is None else _held_outside(outside, path)
        if needed > held:
            raise InputError(
                f"'{path}' is damaged: tensor '{tensor.name[:100]}' declares {needed:,} bytes and"
                f" holds {held:,}" + (f" in '{outside.file}'" if outside is not None else ""),
                _AGAIN,
            )


def outside_files(model: onnx.ModelProto, path: Path) -> list[Path]:
    """The other files that hold numbers of a model."""
    found = (_outside(tensor, path) for tensor in stored_tensors(model))
    return [
        path.parent / file for file in dict.fromkeys(outside.file for outside in found if outside)
    ]


def stored_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors with numbers: of graphs and those inside them, of attributes and functions."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)
    for training in model.training_info:
        yield from _in_graph(training.initialization)
        yield from _in_graph(training.algorithm)


def _in_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for one in (*attribute.sparse_tensors, *sparse):
                yield from (one.values, one.indices)
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _in_graph(inner)


def _declared_bytes(tensor: onnx.TensorProto, path: Path) -> int:
    """Bytes that the shape of a tensor stands for; the count of texts where it holds those."""
    import onnx

    sizes = list(tensor.dims)
    if any(size < 0 for size in sizes):
        raise InputError(
            f"'{path}' is damaged: tensor '{tensor.name[:100]}' declares the shape {sizes}", _AGAIN
        )
    if tensor.data_type == onnx.TensorProto.STRING:
        return math.prod(sizes)
    return -(-math.prod(sizes) * _bits(tensor, path) // 8)


def _bits(tensor: onnx.TensorProto, path: Path) -> int:
    """Bits of one number of a tensor."""
    import onnx

    try:
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
        packed = (bits for end, bits in _PACKED.items() if name.removeprefix("U") == end)
        whole = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
        return next(packed, whole)
    except (KeyError, ValueError):
        raise InputError(
            f"'{path}' is damaged: tensor '{tensor.name[:100]}' has the unknown type"
            f" {tensor.data_type}",
            _AGAIN,
        ) from None


def _inside(tensor: onnx.TensorProto, path: Path) -> int:
    """Bytes that a tensor holds itself, raw or as a list of numbers of its type; or texts."""
    import onnx

    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    count = sum(len(getattr(tensor, name)) for name in _TYPED)
    if tensor.data_type == onnx.TensorProto.STRING:
        return count
    # Packed numbers fill the bytes of an entry; a complex one takes two entries.
    halves = 2 if "COMPLEX" in onnx.TensorProto.DataType.Name(tensor.data_type) else 1
    return count * max(8, _bits(tensor, path)) // 8 // halves


def _outside(tensor: onnx.TensorProto, path: Path) -> Outside | None:
    """Where else a tensor's numbers lie; None where it holds them itself."""
    import onnx

    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        begin = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else None
    except ValueError:
        begin, length = -1, None
    if begin < 0 or (length or 0) < 0:
        raise InputError(
            f"'{path}' is damaged: where the numbers of '{tensor.name[:100]}' lie in another file"
            " isn't told in whole numbers",
            _AGAIN,
        )
    return Outside(tensor.name[:100], entries.get("location", ""), begin, length)


def _held_outside(outside: Outside, path: Path) -> int:
    """Bytes that another file holds of a tensor.

    Raises:
        InputError: It lies outside of the model's folder, is missing, or is no regular file.
    """
    file = path.parent / outside.file
    inside = PurePosixPath(outside.file)
    # A cache of downloads keeps model and weights as links into one folder.
    folders = {path.parent.resolve(), path.resolve().parent}
    if "\0" in outside.file or "\\" in outside.file or inside.is_absolute() or ".." in inside.parts:
        raise _leads_out(outside, path)
    if not any(file.resolve().is_relative_to(folder) for folder in folders):
        raise _leads_out(outside, path)
    if not outside.file or not file.exists():
        raise InputError(
            f"the weights of '{path}' are missing: '{outside.tensor}' lies in '{outside.file}'"
            " beside it",
            "copy that file too",
        )
    check_regular(file)
    if not file.is_file():
        raise InputError(f"'{file}' is a folder, and '{path}' names it as a file of weights")
    there = file.stat().st_size
    if there < outside.begin + (outside.length or 0):
        raise InputError(f"'{file}' is truncated: it ends before '{outside.tensor}' does", _AGAIN)
    return there - outside.begin if outside.length is None else outside.length


def _leads_out(outside: Outside, path: Path) -> InputError:
    return InputError(
        f"'{path}' keeps the numbers of '{outside.tensor}' in {outside.file[:200]!r}, which leads"
        " out of its folder",
        f"such a file lies beside the model: {_TRUSTED}",
    )
