"""What to try next where a file was refused."""

from __future__ import annotations

# Precision → what to try where a file of it was written and differs too much from the model.
_DEPARTED = {
    "float16": "export float32, or find layers whose values pass 65,504 with verify --layers",
    "dynamic": "export float32 or float16, or int8 with --data, whose ranges are calibrated",
    "int8-weights": "export float32 or float16, or int8 with --data",
    "int4-weights": "export int8-weights, or int8 with --data",
    "int16x8": "give more --calibration-samples, or export float16",
}
_INT8 = {
    "tflite": "train it for int8 with --qat-epochs 3, keep the worst layers in floats with"
    " --int8-max-drop 0.01, or export int16x8",
    "onnx": "give another --calibration-method or more --calibration-samples, or export float32",
    "c": "train it for int8 with --qat-epochs 3, or export int16x8",
}
_FLOAT = "find what the converter gets wrong with: edgepress doctor MODEL; or give another --format"


def after_failure(format: str, quantize: str) -> str:
    """What to try where a file was written and failed its verification.

    Args:
        format: A name in `EXPORTERS`.
        quantize: A name in `PRECISIONS`.
    """
    if quantize == "int8":
        return _INT8.get(format, _INT8["tflite"])
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
