"""The child's part of mixed precision: an int8 TFLite file with some layers left in floats."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.tflite.graph import TFLiteGraph, read_graph
from edgepress.deploy.exporters.layer_marks import Layers
from edgepress.deploy.exporters.tflite.conversion import check_file, samples_of
from edgepress.deploy.exporters.tflite.float_steps import without_rounding
from edgepress.deploy.exporters.tflite.layer_precisions import finished, kept_in_floats
from edgepress.deploy.exporters.tflite.ranges import clipped
from edgepress.deploy.exporters.tracing import SIGNATURE
from edgepress.deploy.quantize.clipping import channel_noise, rounding_noise

if TYPE_CHECKING:
    import tensorflow as tf

# Its scale is fixed by the specification; there is nothing to gain.
_FIXED = {"SOFTMAX", "LOGISTIC", "TANH"}
_NOISE = "noise"


def convert(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert to int8, leaving the layers that int8 hurts most in floats.

    What hurts is how a layer's output is rounded, so the layers that read it stay in floats too.

    Args:
        request: `source` (SavedModel folder), `out` (file), `calibration` (.npz of samples by
            input name), `batch` (samples that the graph takes at once), `limits` (least and largest
            values of some inputs, by name), `method` (of ranges, by name), `keep` (of how many
            layers the outputs stay in floats), `layers` (as for `conversion.convert`).

    Returns:
        `kept`, the layers left in floats, `layers`, how many there are, and `precisions`, that
        of those that were asked for by name.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        request["source"], signature_keys=[SIGNATURE]
    )
    samples = partial(
        samples_of, Path(request["calibration"]), request["batch"], request.get("limits")
    )
    out = Path(request["out"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    options = tf.lite.experimental.QuantizationDebugOptions
    made: list[Any] = []
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: _ordered(made[0], samples()),
        debug_options=options(layer_direct_compare_metrics={_NOISE: channel_noise}),
    )
    made.append(debugger)
    if request["method"] != "min-max":
        ranges = Path(f"{request['source']}.mixed.npz")
        debugger.calibrated_model = clipped(
            debugger.calibrated_model, samples(), request["method"], ranges
        )
        debugger.options = debugger.options  # quantises again
    debugger.run()
    # In the graph that is still in floats: a quantiser renames what it rounds.
    out.write_bytes(debugger.calibrated_model)
    graph = read_graph(out)
    noise = {**_noise_of_layers(debugger), **_noise_of_inputs(debugger, next(iter(samples())))}
    ranked = sorted(noise, key=lambda name: -noise[name])[: request["keep"]]
    kept = _with_readers(graph, ranked)
    layers = Layers(request["layers"]) if request.get("layers") else None
    if layers is not None:
        kept += kept_in_floats(debugger.calibrated_model, layers)
    # Refused, after they were set, where no integer layer is left to look at.
    with contextlib.suppress(ValueError):
        debugger.options = options(denylisted_nodes=kept)
    content = without_rounding(debugger.get_nondebug_quantized_model(), ranked)
    precisions: dict[str, str] = {}
    if layers is not None:
        content, precisions = finished(content, layers, floats=True)
    out.write_bytes(content)
    check_file(out)
    return {"kept": kept, "layers": len(noise), "precisions": precisions}


def _ordered(
    debugger: tf.lite.experimental.QuantizationDebugger, samples: Iterable[Mapping[str, Any]]
) -> Iterator[list[Any]]:
    """Samples as lists in the order of the file's own inputs."""
    details = debugger._quant_interpreter.get_input_details()
    names = [d["name"].removeprefix(f"{SIGNATURE}_").rsplit(":", 1)[0] for d in details]
    for sample in samples:
        yield [sample[name] for name in names]


def _noise_of_layers(debugger: tf.lite.experimental.QuantizationDebugger) -> dict[str, float]:
    """What rounding makes of each layer's output, by tensor."""
    text = io.StringIO()
    debugger.layer_statistics_dump(text)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    return {r["tensor_name"]: float(r[_NOISE]) for r in rows if r["op_name"] not in _FIXED}


def _noise_of_inputs(
    debugger: tf.lite.experimental.QuantizationDebugger, sample: Mapping[str, Any]
) -> dict[str, float]:
    """What rounding makes of each input, by tensor."""
    interpreter = debugger._quant_interpreter
    details = {d["index"]: d for d in interpreter.get_tensor_details()}
    found = {}
    for detail, values in zip(
        interpreter.get_input_details(), next(_ordered(debugger, [sample])), strict=True
    ):
        readers = [
            op for op in interpreter._get_ops_details()
            if op["op_name"] == "QUANTIZE" and detail["index"] in op["inputs"]
        ]  # fmt: skip
        if not readers:
            continue
        rounded = details[readers[0]["outputs"][0]]
        scale, zero_point = rounded["quantization"]
        found[detail["name"]] = rounding_noise(values, scale, zero_point, rounded["dtype"])
    return found


def _with_readers(graph: TFLiteGraph, names: list[str]) -> list[str]:
    """Tensors and those computed from them directly."""
    chosen = {tensor.index for tensor in graph.tensors if tensor.name in names}
    read = [operator for operator in graph.operators if chosen & set(operator.inputs)]
    followers = [graph.tensors[i].name for operator in read for i in operator.outputs]
    return list(dict.fromkeys([*names, *followers]))
