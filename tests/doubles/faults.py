"""Faults put into one tensor of a TFLite or ONNX file, as a bug or a bad flash would leave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
# TFLite's types that hold weights.
_TYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 9: np.dtype("i1")}
_LAST = {"tflite": {"FULLY_CONNECTED", "CONV_2D"}, "onnx": {"MatMul", "Gemm", "Conv"}}


@dataclass
class Stored:
    """A constant of a file that a fault may change.

    Attributes:
        name: The tensor.
        values: What is stored.
        axis: Along which its output channels lie.
        write: Puts other values into the file.
        scales: Its scales, one for each channel, or None.
        write_scales: Puts other scales into the file.
        last: Whether the last layer reads it.
    """

    name: str
    values: Array
    axis: int
    write: Callable[[Array], None]
    scales: Array | None = None
    write_scales: Callable[[Array], None] | None = None
    last: bool = False


def _tflite(path: Path) -> tuple[list[Stored], Callable[[Path], None]]:
    from ai_edge_litert import schema_py_generated as schema

    from edgepress.benchmarks.tflite.graph import packed

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    kinds = [names[codes[op.opcodeIndex]] for op in graph.operators]
    lasts = [op for op, kind in zip(graph.operators, kinds, strict=True) if kind in _LAST["tflite"]]
    makers = {i: op for op in graph.operators for i in op.outputs}

    def root(index: int) -> int:
        """The constant behind a tensor that is dequantised from it."""
        while index in makers and len(makers[index].inputs) == 1:
            index = int(makers[index].inputs[0])
        return index

    final = {root(int(lasts[-1].inputs[1]))} if lasts else set()
    found = []
    for index, tensor in enumerate(graph.tensors):
        buffer = model.buffers[tensor.buffer]
        if tensor.type not in _TYPES or buffer.data is None or not len(buffer.data):
            continue
        raw = np.frombuffer(bytes(bytearray(buffer.data)), _TYPES[tensor.type])
        shape = [int(s) for s in tensor.shape]
        if raw.size != np.prod(shape) or raw.size < 4 or len(shape) < 2:
            continue
        values = raw.reshape(shape).copy()
        axis = values.ndim - 1 if shape[0] == 1 else 0
        quantization = tensor.quantization
        scales = None if quantization is None or quantization.scale is None else quantization.scale

        def write(new: Array, buffer: object = buffer) -> None:
            buffer.data = np.frombuffer(new.tobytes(), np.uint8)

        def write_scales(new: Array, quantization: object = quantization) -> None:
            quantization.scale = new

        found.append(
            Stored(
                tensor.name.decode(), values, axis, write,
                None if scales is None else np.asarray(scales, np.float32), write_scales,
                index in final,
            )
        )  # fmt: skip
    return found, lambda out: out.write_bytes(packed(model)) and None


def _onnx(path: Path) -> tuple[list[Stored], Callable[[Path], None]]:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    holders = {t.name: t for t in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(t) for name, t in holders.items()}
    readers = {n.input[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    behind = {n.output[0]: n.input[0] for n in readers.values()}
    lasts = [n for n in model.graph.node if n.op_type in _LAST["onnx"]]
    final = {behind.get(lasts[-1].input[1], lasts[-1].input[1])} if lasts else set()

    def writer(name: str) -> Callable[[Array], None]:
        return lambda new: holders[name].CopyFrom(
            numpy_helper.from_array(new.astype(arrays[name].dtype), name)
        )

    found = []
    for name, values in arrays.items():
        if values.dtype.name not in ("float32", "float16", "int8") or values.ndim < 2:
            continue
        reader = readers.get(name)
        scale = reader.input[1] if reader is not None and reader.input[1] in arrays else None
        found.append(
            Stored(
                name, values, 0 if values.ndim > 2 else values.ndim - 1, writer(name),
                np.atleast_1d(arrays[scale]) if scale else None,
                (lambda new, scale=scale: writer(scale)(new.reshape(arrays[scale].shape)))
                if scale else None,
                name in final,
            )
        )  # fmt: skip
    return found, lambda out: onnx.save(model, out)


def _channel(values: Array, axis: int, place: int) -> tuple[object, ...]:
    index: list[object] = [slice(None)] * values.ndim
    index[axis] = place
    return tuple(index)


def _times_four(chosen: Stored, random: np.random.Generator) -> None:
    if chosen.scales is not None and chosen.write_scales is not None:
        scales = chosen.scales.copy()
        scales[random.integers(len(scales))] *= 4
        chosen.write_scales(scales)
        return
    _changed(chosen, random, lambda part: part * 4)


def _zero(chosen: Stored, random: np.random.Generator) -> None:
    _changed(chosen, random, lambda part: part * 0)


def _negated(chosen: Stored, random: np.random.Generator) -> None:
    _changed(chosen, random, lambda part: np.maximum(part, -127) * -1)


def _changed(chosen: Stored, random: np.random.Generator, change: Callable[[Array], Array]) -> None:
    values = chosen.values.copy()
    place = _channel(values, chosen.axis, int(random.integers(values.shape[chosen.axis])))
    values[place] = change(values[place]).astype(values.dtype)
    chosen.write(values)


def _swapped(chosen: Stored, random: np.random.Generator) -> None:
    """Two outputs of the last layer: where scales differ by channel they go along."""
    size = chosen.values.shape[chosen.axis]
    order = np.arange(size)
    if size > 1:
        one, other = random.choice(size, 2, replace=False)
        order[[one, other]] = order[[other, one]]
    chosen.write(np.ascontiguousarray(np.take(chosen.values, order, chosen.axis)))
    if chosen.scales is not None and len(chosen.scales) == size and chosen.write_scales:
        chosen.write_scales(chosen.scales[order])


# Each fault, and whether it belongs into the last layer.
FAULTS: dict[str, tuple[Callable[[Stored, np.random.Generator], None], bool]] = {
    "scale times 4": (_times_four, False),
    "channel zero": (_zero, False),
    "outputs swapped": (_swapped, True),
    "class negated": (_negated, True),
}


def put_fault(path: Path, out: Path, fault: str, random: np.random.Generator) -> str:
    """Write a copy of a file with a fault in one tensor.

    Args:
        path: A `.tflite` or `.onnx` file.
        out: The copy.
        fault: Name in `FAULTS`.
        random: Draws the tensor and the channel.

    Returns:
        The tensor; empty where the file has none for this fault.
    """
    stored, save = (_tflite if path.suffix == ".tflite" else _onnx)(path)
    change, last = FAULTS[fault]
    fitting: Sequence[Stored] = [s for s in stored if s.last] if last else stored
    if not fitting:
        return ""
    chosen = fitting[int(random.integers(len(fitting)))]
    change(chosen, random)
    save(out)
    return chosen.name
