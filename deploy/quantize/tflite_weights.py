"""The child's part of weight-only TFLite files: ai-edge-quantizer, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepress.benchmarks.tflite_file import read_graph


def quantize(request: Mapping[str, Any]) -> dict[str, Any]:
    """Store the weights of a float TFLite file in 8 or 4 bits; arithmetic stays in floats.

    Args:
        request: `source` and `out` (files), `precision` ("int8-weights" or "int4-weights").

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
    }
    engine = quantizer.Quantizer(request["source"], recipes[request["precision"]]())
    result = engine.quantize(enable_progress_bar=False, enable_progress_report=False)
    Path(request["out"]).write_bytes(bytes(result.quantized_model))
    if _kinds(request["out"]) == _kinds(request["source"]):
        raise ValueError("no weight of this model can be stored in fewer bits")
    return {}


def _kinds(path: str) -> list[str]:
    """Types of a file's constants."""
    return sorted(tensor.type for tensor in read_graph(path).tensors if tensor.constant)
