"""ONNX Runtime as it judges a graph while it is written: in silence, on one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnxruntime


def quiet_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """An `onnxruntime.InferenceSession` of an ONNX model in memory, on this processor."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
