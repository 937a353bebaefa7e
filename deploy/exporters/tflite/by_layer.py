"""The child's part of files whose layers have activations of 8 and of 16 bits.

TensorFlow's quantiser knows one of both for a whole file; ai-edge-quantizer knows them for each
operator. It is given the ranges that the converter's calibration found.
"""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks.tflite.graph import packed
from edgepress.deploy.exporters.layer_marks import Layers
from edgepress.deploy.exporters.tflite.layer_precisions import LayeredFile, listed
from edgepress.deploy.exporters.tflite.stored_weights import with_alike_parts, with_options

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

_ALGORITHM, _NOTHING = "min_max_uniform_quantize", "no_quantize"
_ONE_SCALE = frozenset({"MAXIMUM", "MINIMUM", "SELECT_V2"})
_ENDS = ("INPUT", "OUTPUT")


def quantised_by_layer(
    content: bytes, widest: bytes, layers: Layers, io: str, kept: Collection[str]
) -> bytes:
    """An integer file of activations of 8 and of 16 bits.

    Args:
        content: A calibrated float file, which holds the ranges of its tensors.
        widest: The same file with the ranges that samples reach, which 16 bits take.
        layers: The precision of each layer.
        io: Type of the file's inputs and outputs: "float" or "int8".
        kept: Names of the tensors whose operators stay in floats.

    Raises:
        ValueError: The package isn't installed, or has no such inputs.
    """
    try:
        from ai_edge_quantizer import quantizer
    except ImportError:
        raise ValueError("the package ai-edge-quantizer is not installed") from None
    if io not in ("float", layers.base[:4], layers.base[:5]):
        raise ValueError(f"a file of 8 and 16 bits by layer has no inputs of {io}: pass --io float")
    file = LayeredFile(content, layers)
    wide = {
        file.name(int(t))
        for operator, chains in file.computing()
        if layers.precision(chains) == "int16x8"
        for t in operator.outputs
    }
    ranges = {**_ranges(content), **{n: r for n, r in _ranges(widest).items() if n in wide}}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.tflite"
        source.write_bytes(_plain(file, content))
        engine = quantizer.Quantizer(str(source))
        engine.load_quantization_recipe(_recipe(file, layers, io, kept))
        made = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return with_options(with_alike_parts(bytes(made.quantized_model)))


def _recipe(
    file: LayeredFile, layers: Layers, io: str, kept: Collection[str]
) -> list[dict[str, Any]]:
    """What the quantiser is told of each operator, by the names of what it makes."""
    rules = [_rule(".*", "*", layers.base)]
    for operator, chains in file.computing():
        names = [file.name(int(t)) for t in operator.outputs]
        wanted = "float32" if set(names) & set(kept) else layers.precision(chains)
        if wanted != layers.base:
            rules.append(_rule(f"^{re.escape(';'.join(names))};?$", "*", wanted))
    if io == "float":
        rules += [_rule("(?:.*)", end, "float32") for end in _ENDS]
    return rules


def _rule(pattern: str, operator: str, precision: str) -> dict[str, Any]:
    if precision in ("float32", "float16"):
        return {"regex": pattern, "operation": operator, "algorithm_key": _NOTHING, "op_config": {}}
    bits = 16 if precision == "int16x8" else 8
    number = {
        "num_bits": bits,
        "symmetric": bits == 16,
        "granularity": "TENSORWISE",
        "dtype": "INT",
    }
    weight = {**number, "num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE"}
    return {
        "regex": pattern,
        "operation": operator,
        "algorithm_key": _ALGORITHM,
        "op_config": {
            "activation_tensor_config": number,
            "weight_tensor_config": weight,
            "compute_precision": "INTEGER",
        },
    }


def _ranges(content: bytes) -> dict[str, Mapping[str, Any]]:
    """Least and largest values of a calibrated file's tensors, as the quantiser takes them."""
    from ai_edge_litert import schema_py_generated as schema

    found: dict[str, Mapping[str, Any]] = {}
    for tensor in schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].tensors:
        ends = tensor.quantization
        if ends is None or ends.min is None or len(ends.min) != 1:
            continue
        shape = [1] * (0 if tensor.shape is None else len(tensor.shape))
        found[tensor.name.decode()] = {
            "min": np.asarray(ends.min, np.float32).reshape(shape),
            "max": np.asarray(ends.max, np.float32).reshape(shape),
        }
    return found


def _plain(file: LayeredFile, content: bytes) -> bytes:
    """A calibrated file without its ranges, each operator with constants of its own.

    The quantiser stores a constant that two operators share in the type of one of them, and refuses
    constants of fewer axes than the output whose scale they are given.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        tensor.quantization = None
    taken: set[int] = set()
    for operator in graph.operators:
        given = listed(operator.inputs)
        operator.inputs = [_own(model, graph, int(tensor), taken) for tensor in given]
        if file.kind(operator) in _ONE_SCALE:
            axes = len(listed(graph.tensors[int(operator.outputs[0])].shape))
            for constant in (graph.tensors[t] for t in operator.inputs if t >= 0):
                own = listed(constant.shape)
                if model.buffers[constant.buffer].data is not None and len(own) < axes:
                    constant.shape = [*[1] * (axes - len(own)), *map(int, own)]
    return packed(model, len(content))


def _own(model: schema.ModelT, graph: schema.SubGraphT, tensor: int, taken: set[int]) -> int:
    """The tensor, or a copy of a constant that another operator reads already."""
    if tensor < 0 or model.buffers[graph.tensors[tensor].buffer].data is None:
        return tensor
    buffer = graph.tensors[tensor].buffer
    if buffer not in taken:
        taken.add(buffer)
        return tensor
    own = copy.deepcopy(graph.tensors[tensor])
    own.name = f"{own.name.decode()}_copy_{len(graph.tensors)}".encode()
    model.buffers.append(copy.deepcopy(model.buffers[buffer]))
    own.buffer = len(model.buffers) - 1
    taken.add(own.buffer)
    graph.tensors.append(own)
    return len(graph.tensors) - 1
