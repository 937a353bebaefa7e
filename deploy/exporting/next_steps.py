"""What to try next where a file was refused."""

from __future__ import annotations

from collections.abc import Collection

# Precision → what to try where a file of it was written and differs too much from the model.
_DEPARTED = {
    "float16": "export float32, or find layers whose values pass 65,504 with verify --layers",
    "dynamic": "export float32 or float16, or int8 with --data, whose ranges are calibrated",
    "int8-weights": "export float32 or float16, or int8 with --data",
    "int4-weights": "export int8-weights, or int8 with --data",
    "int16x8": "give more --calibration-samples, or export float16",
}
# The same of int8, by format: each way with the option that it needs, for those who have tried it.
_INT8 = {
    "tflite": (
        ("qat_epochs", "train it for int8 with --qat-epochs 3"),
        ("int8_max_drop", "keep the worst layers in floats with --int8-max-drop 0.01"),
        ("", "export int16x8"),
    ),
    "onnx": (
        ("calibration_method", "give another --calibration-method"),
        ("calibration_samples", "give more --calibration-samples"),
        ("int8_max_drop", "keep the worst layers in floats with --int8-max-drop 0.01"),
        ("", "export float32"),
    ),
    "c": (
        ("qat_epochs", "train it for int8 with --qat-epochs 3"),
        ("keep_float", "keep layers in floats with --keep-float"),
        ("", "export int16x8"),
    ),
    "c-standalone": (
        ("qat_epochs", "train it for int8 with --qat-epochs 3"),
        ("calibration_method", "give another --calibration-method"),
        ("", "export int16x8 with --format c"),
    ),
}
# Options by which a hint is chosen: those against rounding errors, and what may have made the file.
ADVISED = (
    *sorted({option for ways in _INT8.values() for option, _ in ways if option}),
    "precision",
)
_FLOAT = "find what the converter gets wrong with: edgepress doctor MODEL; or give another --format"


def after_failure(format: str, quantize: str, asked: Collection[str] = (), ran: bool = True) -> str:
    """What to try where a file was written and failed its verification.

    Args:
        format: A name in `EXPORTERS`.
        quantize: A name in `PRECISIONS`.
        asked: Options that the export was given, by field: what they ask for was tried.
        ran: Whether its runtime could run it.
    """
    if not ran and "precision" in asked:
        return "give the layers of --precision another one, or leave it out"
    if quantize == "int8":
        ways = _INT8.get(format, _INT8["tflite"])
        left = [way for option, way in ways if option not in asked]
        return ", or ".join([", ".join(left[:-1]), left[-1]] if left[1:] else left)
    return _DEPARTED.get(quantize, _FLOAT)


def after_skip(format: str, quantize: str, reason: str) -> str:
    """What to try where a combination wasn't written.

    Args:
        format: A name in `EXPORTERS`.
        quantize: A name in `PRECISIONS`.
        reason: Why; where it says the way out itself, nothing is added.
    """
    if any(word in reason for word in ("--", "export ", "give ", "use ", "install ", "try ")):
        return ""
    if quantize == "float32":
        return "edgepress doctor MODEL names what stands in the way; or give another --format"
    return f"export {format} in float32, or {quantize} in another --format"
