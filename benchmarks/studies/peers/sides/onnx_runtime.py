"""ONNX Runtime's quantiser: a float ONNX file in int8, with QDQ pairs around operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization

from edgepress.benchmarks.studies.peers.sides.job import Job, serve, singles


class _Images(quantization.CalibrationDataReader):
    def __init__(self, job: Job, name: str) -> None:
        self._left = ({name: x} for x in singles(job.data))

    def get_next(self) -> Any:
        """The next image, or None."""
        return next(self._left, None)


def quantize(job: Job) -> dict[str, Any]:
    """One file, prepared as its guide says: shapes inferred and graph simplified first."""
    source = next(Path(job.options["float"]).glob("*.onnx"))
    ready, out = job.out / "ready.onnx", job.out / "model.onnx"
    quantization.quant_pre_process(str(source), str(ready))
    if job.options["precision"] == "dynamic":
        quantization.quantize_dynamic(
            str(ready), str(out), weight_type=quantization.QuantType.QInt8
        )
        return {"file": "model.onnx"}
    name = onnx.load(ready).graph.input[0].name
    quantization.quantize_static(
        str(ready), str(out), _Images(job, name), per_channel=True,
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip
    return {"file": "model.onnx"}


if __name__ == "__main__":
    serve({"quantize": quantize})
