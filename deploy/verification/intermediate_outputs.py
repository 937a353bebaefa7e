"""A copy of an artifact whose intermediate tensors are outputs, so that any runtime shows them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from edgepress.benchmarks.tflite.graph import packed
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

# Operators whose outputs say nothing of a layer: sizes, loops.
_NO_VALUES = {"SHAPE", "WHILE", "IF", "CALL_ONCE"}


def expose(artifact: Path, out: Path) -> Path:
    """Write a copy of an artifact with its intermediate tensors as further outputs.

    Args:
        artifact: A `.tflite` or `.onnx` file.
        out: The copy, with the same ending.

    Returns:
        The copy.

    Raises:
        InputError: It is another kind of file.
    """
    if artifact.suffix.lower() == ".tflite":
        out.write_bytes(_tflite(artifact.read_bytes()))
    elif artifact.suffix.lower() == ".onnx":
        _onnx(artifact, out)
    else:
        raise InputError(f"'{artifact}' has no layers to compare", "give a .tflite or .onnx file")
    return out


def _tflite(data: bytes) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    silent = {value for name, value in vars(schema.BuiltinOperator).items() if name in _NO_VALUES}
    given = {int(index) for index in graph.outputs}
    shown = [int(index) for index in graph.outputs]
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in silent:
            continue
        for index in operator.outputs:
            tensor = graph.tensors[int(index)]
            if int(index) not in given and _is_number(tensor, schema):
                given.add(int(index))
                shown.append(int(index))
                # A lean file names none: they are told apart by what they hold.
                tensor.name = tensor.name or f"tensor_{index}"
    graph.outputs = shown
    # A signature lists all outputs; without one the tensors are known by their own names.
    model.signatureDefs = None
    return packed(model, len(data))


def _is_number(tensor: schema.TensorT, schema: ModuleType) -> bool:
    kinds = schema.TensorType
    return tensor.type in (kinds.FLOAT32, kinds.INT8, kinds.UINT8, kinds.INT16)


def _onnx(artifact: Path, out: Path) -> None:
    import onnx

    model = onnx.load(artifact)
    inferred = onnx.shape_inference.infer_shapes(model)
    floats = [
        value for value in inferred.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]  # fmt: skip
    # What a cleaned graph's list of shapes still names may be gone from the graph.
    made = {name for node in model.graph.node for name in node.output}
    hidden = made - {value.name for value in model.graph.output}
    model.graph.output.extend(value for value in floats if value.name in hidden)
    onnx.save(model, out)
