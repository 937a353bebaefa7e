"""The child's part of ONNX precisions: ONNX Runtime's quantiser and its float16 conversion."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.deploy.exporters.layer_marks import Layers
from edgepress.deploy.exporters.onnx.layer_precisions import (
    kept_in_floats,
    name_nodes,
    precisions_by_layer,
    unmark,
    with_half_floats,
)
from edgepress.deploy.exporters.onnx.masks import bound_masks
from edgepress.deploy.exporters.onnx.names import settle_scales, settle_shapes
from edgepress.deploy.exporters.onnx.node_order import bodies, sort_nodes
from edgepress.deploy.exporters.onnx.stored_weights import store_in_8_bits
from edgepress.deploy.process.malloc import returning_blocks
from edgepress.deploy.quantize.clipping import rounding_noise
from edgepress.deploy.quantize.float_tail import Tail, onnx_tail

if TYPE_CHECKING:
    import onnx

_BATCH = 32
# Samples by which is told what rounding does to each tensor; all are kept in memory.
_LOOKED_AT = 64
# x86 without VNNI adds pairs of products in 16 bits, which full 8-bit weights overflow: the file
# would compute something else there. 7 bits are right everywhere.
_SEVEN_BITS = True


@returning_blocks()
def quantize(request: Mapping[str, Any]) -> dict[str, Any]:
    """Quantise a float ONNX file.

    Static: QuantizeLinear/DequantizeLinear pairs, int8 per output channel for weights (of which 7
    bits are used) and uint8 for activations: the same levels as of int8, counted from 0. Dynamic:
    the same weights, activations quantised while running.

    Args:
        request: `source` and `out` (files), `precision` ("int8", "dynamic" or "int8-weights"),
            `calibration` (.npz of samples by input name, for int8), `method` (its name), `nchw`
            (names of inputs that the file takes channels first), `batch` (that the file fixes),
            `float_tail` (how much at the end of an int8 file stays in floats; see `tail`), `layers`
            (the precision of layers in a marked file; see `layer_request`), `keep` (around how many
            of the tensors between layers, the worst first, nodes stay in floats).

    Returns:
        As `checked`, `floats`, the nodes at its end that stay in floats, `layers`, the precision
        that layers got by name, `rounded`, how many tensors between layers are rounded where
        none of them is kept, and `in_floats`, how many weights are expanded to floats.

    Raises:
        ValueError: None of its weights can be quantised so.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = Path(request["out"]).with_suffix(".prepared.onnx")
    try:
        quant_pre_process(request["source"], str(ready), skip_symbolic_shape=True)
        prepared = onnx.load(ready)
        loops, depth = bool(_loops(prepared)), request.get("float_tail", 0)
        floats = onnx_tail(prepared, depth) if depth else Tail()
        bounded = request["precision"] == "int8" and bound_masks(prepared.graph)
        layers = Layers(request["layers"]) if request.get("layers") else None
        name_nodes(prepared)
        kept = kept_in_floats(prepared, layers) if layers is not None else []
        if floats.names or bounded or kept or request.get("keep"):
            onnx.save(prepared, ready)
        noise: dict[str, float] = {}
        if request["precision"] == "int8-weights":
            shutil.copy(ready, request["out"])
        elif request["precision"] == "dynamic":
            _dynamic(ready, request, loops)
        else:
            _static(ready, request, loops, [*floats.names, *kept])
        if request.get("keep"):
            noise = _noise_of_tensors(ready, request)
            worst = sorted(noise, key=lambda name: -noise[name])[: request["keep"]]
            around = [n.name for n in prepared.graph.node if {*n.input, *n.output} & {*worst}]
            _static(ready, request, loops, [*floats.names, *kept, *around])
    finally:
        ready.unlink(missing_ok=True)
    written = onnx.load(request["out"])
    in_floats = store_in_8_bits(written) if request["precision"] != "int8" else 0
    _check_quantised(written, loops)
    precisions: dict[str, str] = {}
    if layers is not None:
        with_half_floats(written, layers)
        precisions = precisions_by_layer(written, layers)
        unmark(written)
    # The quantiser puts nodes before those whose outputs they read, where a graph reverses time.
    sort_nodes(written.graph)
    settle_scales(written.graph)
    settle_shapes(written.graph)
    onnx.save(written, request["out"])
    if request["precision"] != "int8":
        _check_smaller(written, Path(request["out"]), Path(request["source"]))
    return {
        **checked(written),
        "floats": list(floats.operators),
        "layers": precisions,
        "rounded": len(noise),
        "in_floats": in_floats,
    }


def _noise_of_tensors(source: Path, request: Mapping[str, Any]) -> dict[str, float]:
    """What rounding makes of each tensor between layers, by name; see `rounding_noise`.

    Args:
        source: The float file.
        request: Names the int8 file that was made of it.
    """
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    graph = onnx.load(request["out"]).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    rounding = {
        node.input[0]: [numpy_helper.to_array(constants[name]) for name in node.input[1:3]]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }
    model = onnx.load(source)
    inputs = {value.name for value in model.graph.input}
    given = inputs | {value.name for value in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    for name in sorted((rounding.keys() & made) - given):
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), quiet)
    names = [output.name for output in session.get_outputs()]
    found: dict[str, float] = {}
    for samples in _samples(request, _LOOKED_AT):
        values = {**samples, **dict(zip(names, session.run(names, samples), strict=True))}
        for name, (scale, zero_point) in rounding.items():
            if name not in values:
                continue
            # Images have their channels first in ONNX.
            real = np.moveaxis(values[name], 1, -1) if values[name].ndim == 4 else values[name]
            noise = rounding_noise(real, float(scale), int(zero_point), zero_point.dtype)
            found[name] = max(found.get(name, 0.0), noise)
    return found


def _samples(request: Mapping[str, Any], most: int | None = None) -> _Samples:
    return _Samples(
        Path(request["calibration"]),
        request.get("nchw", ()),
        request.get("batch") or _BATCH,
        most,
    )


def _check_quantised(model: onnx.ModelProto, loops: bool) -> None:
    import onnx

    eight_bits = onnx.TensorProto.INT8, onnx.TensorProto.UINT8
    if not any(t.data_type in eight_bits and t.dims for t in model.graph.initializer):
        inner = "in loops, which masked recurrent layers and those with a hard sigmoid become"
        why = "there are none, or too few to save bytes"
        why = f"those {inner}, stay in floats" if loops else why
        raise ValueError(
            f"no weight of this graph can be stored in 8 bits: {why}; float32 and float16 remain"
        )


def _check_smaller(model: onnx.ModelProto, dynamic: Path, source: Path) -> None:
    """Refuse a file of recurrent layers that has grown: their small weights stay in floats."""
    recurrent = sorted({"GRU", "RNN"} & {node.op_type for node in model.graph.node})
    larger, smaller = dynamic.stat().st_size, source.stat().st_size
    if recurrent and larger >= smaller:
        raise ValueError(
            f"the dynamic file would have {larger:,} bytes, float32 has {smaller:,}: ONNX Runtime"
            f" quantises no {recurrent[0]} on the go, and scales and operators weigh more than is"
            " saved; float32 and float16 remain"
        )


def checked(model: onnx.ModelProto) -> dict[str, Any]:
    """What an ONNX model is made of, once ONNX's checker and shape inference have passed it.

    Returns:
        Its operators and the versions that it is written in.

    Raises:
        Exception: The checker refuses it.
    """
    import onnx

    onnx.checker.check_model(model, full_check=True)
    own = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return {
        "operators": sorted({node.op_type for node in model.graph.node}),
        "opset": own,
        "ir_version": model.ir_version,
    }


def _dynamic(source: Path, request: Mapping[str, Any], loops: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # ConvInteger has no fast kernel in ONNX Runtime; convolutions stay in floats.
    kinds = ["MatMul", "Gemm", "LSTM", "GRU", "Attention"]
    # ONNX Runtime moves a DequantizeLinear along the graph, and crashes (SIGABRT) where it meets
    # the body of a loop: there an embedding's table stays in floats.
    if not loops:
        kinds.append("Gather")
    quantize_dynamic(
        str(source),
        request["out"],
        per_channel=True,
        reduce_range=_SEVEN_BITS,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=kinds,
    )


def _static(source: Path, request: Mapping[str, Any], loops: bool, floats: Collection[str]) -> None:
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    methods = {
        "min-max": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    quantize_static(
        str(source),
        request["out"],
        _samples(request),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        # On x86 ONNX Runtime has its fast kernels for products of unsigned and signed bytes.
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=_SEVEN_BITS,
        nodes_to_exclude=list(floats) or None,
        calibrate_method=methods[request.get("method", "min-max")],
        # A Relu goes where the rounding behind it clips as it does. The body of a loop that reads
        # its output from outside would read what was before it.
        extra_options={"QDQKeepRemovableActivations": loops},
    )


class _Samples:
    """Calibration samples as the quantiser asks for them: a batch by input name, then None."""

    def __init__(
        self, path: Path, channels_first: Collection[str], batch: int, most: int | None = None
    ) -> None:
        self._size = batch
        with np.load(path) as file:
            arrays = {name: file[name][:most] for name in file.files}
        self._arrays = {
            name: np.moveaxis(array, -1, 1) if name in channels_first else array
            for name, array in arrays.items()
        }
        self._batches = self._all()

    def _all(self) -> Iterator[dict[str, Any]]:
        total = len(next(iter(self._arrays.values())))
        for begin in range(0, total - total % self._size or total, self._size):
            yield {name: a[begin : begin + self._size] for name, a in self._arrays.items()}

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None."""
        return next(self._batches, None)

    def __iter__(self) -> _Samples:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._batches)


@returning_blocks()
def to_float16(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a float32 ONNX file to float16 with float32 inputs and outputs.

    Args:
        request: `source` and `out` (files).

    Returns:
        As `checked`.

    Raises:
        ValueError: The conversion breaks it, as it does loops and branches.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    source = onnx.load(request["source"])
    loops = _loops(source)
    try:
        model = convert_float_to_float16(source, keep_io_types=True)
        sort_nodes(model.graph)
        opsets = checked(model)
    except Exception as error:
        if loops:
            why = (
                f"breaks the body of the operator {loops[0]}, which some masked recurrent layers"
                " become"
            )
        else:
            why = f"fails on this graph: {str(error).strip() or type(error).__name__}"
        raise ValueError(
            f"ONNX Runtime's conversion to float16 {why}; float32, dynamic and int8 remain"
        ) from error
    onnx.save(model, request["out"])
    return opsets


def _loops(model: onnx.ModelProto) -> list[str]:
    """The loops and branches of a model, by operator."""
    return [node.op_type for node in model.graph.node if any(bodies(node))]
