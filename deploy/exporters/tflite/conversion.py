"""The child's part of TFLite: TensorFlow's converter and a look at what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks.tflite.graph import graph_of, read_graph, read_model
from edgepress.benchmarks.tflite.unshare_biases import own_biases
from edgepress.deploy.exporters.layer_marks import Layers, alike
from edgepress.deploy.exporters.tflite.by_layer import quantised_by_layer
from edgepress.deploy.exporters.tflite.float_steps import without_detours, without_rounding
from edgepress.deploy.exporters.tflite.layer_precisions import (
    finished,
    in_floats,
    kept_in_floats,
)
from edgepress.deploy.exporters.tflite.ranges import clipped, widened
from edgepress.deploy.exporters.tflite.stored_weights import small_kernels_in_8_bits
from edgepress.deploy.exporters.tracing import SIGNATURE
from edgepress.deploy.lowerings.graph_passes import HUGE
from edgepress.deploy.quantize.float_tail import Tail, tflite_head, tflite_tail

if TYPE_CHECKING:
    from tensorflow.lite.python.lite import TFLiteConverterBaseV2

# What a converter leaves behind that lost the weights: they stay outside the file.
_OUTSIDE = {"READ_VARIABLE", "VAR_HANDLE", "ASSIGN_VARIABLE"}
# What TensorFlow's quantiser says of what it has no 16 bits for.
_LACKS_16_BITS = ("16x8", "Max and min for dynamic tensors should be recorded")


def convert(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a SavedModel to TFLite.

    Args:
        request: `source` (SavedModel folder), `out` (file), `precision` (by name), `io` ("float",
            "int8" or "uint8"), `calibration` (.npz of samples by input name, or None), `method` (of
            int8 ranges, by name), `batch` (samples that the graph takes at once), `limits` (least
            and largest values of some inputs, by name), `select_ops`
            (whether TensorFlow's own kernels may be used), `sparse` (whether zeros are left out),
            `float_tail` (how much at the end of an int8 file stays in floats; see `tail`),
            `float_head` (whether the features of sounds at its start do), `layers` (the precision
            of layers in a marked graph; see `layer_request`; None where all have the file's).

    Returns:
        The operators of the file, `floats`, those at its end that stay in floats, `integers`,
        whether some of its weights have 8 bits, `layers`, the precision that layers got by
        name, and `without_16_bits`, the operators that an int16x8 file has in floats.

    Raises:
        ValueError: The file would need variables from outside.
    """
    import tensorflow as tf

    converter = _converter(request, request["precision"])
    if request.get("sparse"):
        converter.optimizations = [*converter.optimizations, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if request.get("select_ops"):
        converter.target_spec.supported_ops = [
            *converter.target_spec.supported_ops,
            tf.lite.OpsSet.SELECT_TF_OPS,
        ]
    path = Path(request["out"])
    layers = Layers(request["layers"]) if request.get("layers") else None
    content, floats = _converted(converter, request, layers)
    sixteen = request["precision"] == "int16x8"
    content = own_biases(content) if sixteen else content
    precisions: dict[str, str] = {}
    if layers is not None:
        content, precisions = finished(content, layers)
    path.write_bytes(content)
    if request["precision"] == "dynamic" and _holds_integers(path):
        path.write_bytes(small_kernels_in_8_bits(content))
    return {
        "layers": precisions,
        "operators": list(check_file(path)),
        "floats": floats.operators,
        "integers": _holds_integers(path),
        "without_16_bits": in_floats(content) if sixteen and layers is None else [],
    }


def _converter(request: Mapping[str, Any], precision: str) -> TFLiteConverterBaseV2:
    """TensorFlow's converter of a graph to a precision."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        request["source"], signature_keys=[SIGNATURE]
    )
    _SETTINGS[precision](converter, request)
    return converter


def _with_16_bits(converter: TFLiteConverterBaseV2, request: Mapping[str, Any]) -> bytes:
    """An int16x8 file, whose ranges leave room for values that no sample reached.

    TensorFlow's quantiser refuses a graph with one operator that it has no 16 bits for, or whose
    input is an index. ai-edge-quantizer leaves such operators in floats.
    """
    import tensorflow as tf
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    if request["calibration"] is None:  # ranges that were trained are what the network is used to
        return bytes(converter.convert())
    converter._experimental_calibrate_only = True
    calibrated = widened(bytes(converter.convert()))
    try:
        return bytes(
            Calibrator(calibrated).calibrate_and_quantize(
                _no_samples,
                converter.inference_input_type,
                converter.inference_output_type,
                allow_float=bool(request.get("select_ops")),
                activations_type=tf.int16,
                bias_type=tf.int64,
            )
        )
    except RuntimeError as error:
        lacks = any(words in str(error) for words in _LACKS_16_BITS)
        if not lacks or find_spec("ai_edge_quantizer") is None:
            raise
    return quantised_by_layer(calibrated, calibrated, alike("int16x8"), request["io"], ())


def _no_samples() -> Iterator[Any]:
    """No samples: the quantiser takes the ranges that its file holds."""
    return iter(())


def _converted(
    converter: TFLiteConverterBaseV2, request: Mapping[str, Any], layers: Layers | None
) -> tuple[bytes, Tail]:
    """The file's bytes, and what stays in floats.

    Ranges other than min-max are set between the converter's two steps, and layers of other
    precisions are told then.
    """
    method, depth = request.get("method", "min-max"), request.get("float_tail", 0)
    between = request["precision"] == "int8" or layers is not None
    head = request.get("float_head", False)
    plain = method == "min-max" and not depth and not head and layers is None
    if not request["calibration"] and request["precision"] == "int8":
        return without_detours(bytes(converter.convert())), Tail()
    if request["precision"] == "int16x8" and layers is None:
        return _with_16_bits(converter, request), Tail()
    if not between or plain:
        return bytes(converter.convert()), Tail()
    from tensorflow.lite.python.convert import mlir_quantize

    ranges = Path(f"{request['source']}.ranges")
    calibrated = ranges.with_suffix(".tflite")
    if not calibrated.exists():
        converter._experimental_calibrate_only = True
        calibrated.write_bytes(converter.convert())
    content = widest = calibrated.read_bytes()
    if method != "min-max":
        limits = request.get("limits")
        samples = samples_of(Path(request["calibration"]), request["batch"], limits)
        content = clipped(content, samples, method, ranges.with_suffix(".npz"))
    floats = tflite_tail(calibrated, depth) if depth else Tail()
    kept = [*floats.names, *(tflite_head(calibrated) if head else ())]
    if layers is not None:
        kept += kept_in_floats(widest, layers)
        if "int16x8" in layers.precisions:
            made = quantised_by_layer(content, widened(widest), layers, request["io"], kept)
            return made, floats
    made = mlir_quantize(
        content,
        input_data_type=converter.inference_input_type,
        output_data_type=converter.inference_output_type,
        denylisted_nodes=kept or None,
    )
    return (without_rounding(bytes(made)) if kept else bytes(made)), floats


def _holds_integers(path: Path) -> bool:
    """Whether some weights of a file have 8 bits."""
    model = read_model(path)
    graphs = (graph_of(model, place) for place in range(model.SubgraphsLength()))
    return any(t.type == "INT8" and t.constant for graph in graphs for t in graph.tensors)


def check_file(path: Path) -> tuple[str, ...]:
    """The operators of a TFLite file that holds all it needs.

    Raises:
        ValueError: Its weights are outside.
    """
    graph = read_graph(path)
    resources = [t.name for t in graph.tensors if t.type == "RESOURCE"]
    if resources or _OUTSIDE & set(graph.operator_names):
        raise ValueError(
            "the converter left weights outside the file"
            + (f" (resource tensor '{resources[0]}')" if resources else "")
        )
    return graph.operator_names


def _float32(converter: TFLiteConverterBaseV2, request: Mapping[str, Any]) -> None:
    del converter, request


def _float16(converter: TFLiteConverterBaseV2, request: Mapping[str, Any]) -> None:
    import tensorflow as tf

    del request
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: TFLiteConverterBaseV2, request: Mapping[str, Any]) -> None:
    import tensorflow as tf

    del request
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: TFLiteConverterBaseV2, request: Mapping[str, Any]) -> None:
    import tensorflow as tf

    _calibrated(converter, request, tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    if request["io"] != "float":
        kind = tf.dtypes.as_dtype(request["io"])
        converter.inference_input_type = converter.inference_output_type = kind


def _int16x8(converter: TFLiteConverterBaseV2, request: Mapping[str, Any]) -> None:
    import tensorflow as tf

    _calibrated(
        converter,
        request,
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    )
    if request["io"] == "int16":
        converter.inference_input_type = converter.inference_output_type = tf.int16


def _calibrated(
    converter: TFLiteConverterBaseV2, request: Mapping[str, Any], operators: Any
) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if request["calibration"] is None:  # the graph itself carries the ranges
        return
    converter.representative_dataset = lambda: samples_of(
        Path(request["calibration"]), request["batch"], request.get("limits")
    )
    converter.target_spec.supported_ops = [operators]


def samples_of(
    path: Path, batch: int, limits: Mapping[str, Sequence[float]] | None = None
) -> Iterator[dict[str, Any]]:
    """Samples in batches of the file's own size.

    By input name: the converter takes a list in another order than that of the model's inputs.

    Args:
        path: An .npz of samples by input name.
        batch: Samples of a batch.
        limits: Least and largest values of inputs that mask, by name; for those with huge values.
    """
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for name, (least, largest) in (limits or {}).items():
        if np.abs(arrays[name]).max(initial=0) >= HUGE:
            arrays[name] = np.clip(arrays[name], least, largest)
    total = len(next(iter(arrays.values())))
    for begin in range(0, total - batch + 1, batch):
        yield {name: array[begin : begin + batch] for name, array in arrays.items()}


_SETTINGS: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "float32": _float32,
    "float16": _float16,
    "dynamic": _dynamic,
    "int8": _int8,
    "int16x8": _int16x8,
}
