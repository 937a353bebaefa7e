"""The child's part of quantising finished TFLite files: ai-edge-quantizer, where installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.deploy.exporters.tflite.conversion import samples_of
from edgepress.deploy.exporters.tflite.fewer_bits import with_least_loss
from edgepress.deploy.exporters.tflite.stored_weights import with_alike_parts, with_options


def quantize(request: Mapping[str, Any]) -> dict[str, Any]:
    """Store the weights of a float TFLite file in 8 or 4 bits.

    Arithmetic stays in floats, is quantised on the go ("dynamic"), or by ranges from samples.

    Args:
        request: `source` and `out` (files), `precision` ("int8-weights", "int4-weights",
            "dynamic", "int8" or "int16x8"), `calibration` (.npz of samples by the file's own input
            names, for the last two; for "int4-weights" None without data).

    Returns:
        Nothing.

    Raises:
        ValueError: The package isn't installed, or no weight could be quantised.
    """
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError:
        raise ValueError("the package ai-edge-quantizer is not installed") from None
    recipes = {
        "int8-weights": recipe.weight_only_wi8_afp32,
        "int4-weights": recipe.weight_only_wi4_afp32,
        "dynamic": recipe.dynamic_wi8_afp32,
        "int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
    }
    engine = quantizer.Quantizer(request["source"], recipes[request["precision"]]())
    ranges = _ranges(engine, request) if engine.need_calibration else None
    result = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    made = with_options(with_alike_parts(bytes(result.quantized_model)))
    if request["precision"] == "int4-weights":
        whole, samples = Path(request["source"]).read_bytes(), request.get("calibration")
        made = with_least_loss(made, whole, samples_of(Path(samples), 1) if samples else None)
    Path(request["out"]).write_bytes(made)
    if _kinds(request["out"]) == _kinds(request["source"]):
        raise ValueError("no weight of this model can be stored in fewer bits")
    return {}


def _ranges(engine: Any, request: Mapping[str, Any]) -> Any:
    """Ranges of activations, one sample at a time as the file itself takes them.

    Raises:
        ValueError: The file has no signature, by which the quantiser names its inputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=request["source"])
    key = next(iter(interpreter.get_signature_list()), None)
    if key is None:
        raise ValueError("the file has no signature, by which calibration names its inputs")
    given = interpreter.get_signature_runner(key).get_input_details()
    size = max(int(next(iter(given.values()))["shape"][0]), 1)
    samples = list(samples_of(Path(request["calibration"]), size))
    return engine.calibrate({key: samples}, num_threads=1)


def _kinds(path: str) -> list[str]:
    """Types of a file's constants."""
    return sorted(tensor.type for tensor in read_graph(path).tensors if tensor.constant)
