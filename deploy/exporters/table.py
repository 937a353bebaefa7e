"""The table of formats."""

from __future__ import annotations

from edgepress.compress.registry import Table
from edgepress.deploy.exporters.exporter import Exporter
from edgepress.deploy.exporters.onnx import write_onnx
from edgepress.deploy.exporters.tflite import write_tflite

TFLITE = Exporter(
    suffix=".tflite",
    precisions=frozenset({"float32", "float16", "dynamic", "int8", "int16x8"}),
    integer_io=frozenset({"int8"}),
    write=write_tflite,
)

ONNX = Exporter(
    suffix=".onnx",
    precisions=frozenset({"float32", "float16", "dynamic", "int8"}),
    integer_io=frozenset(),
    write=write_onnx,
    absent={
        "int16x8": "ONNX Runtime has no kernels for int16 activations with int8 weights",
    },
)

EXPORTERS: Table[Exporter] = Table(
    "format", {"tflite": TFLITE, "onnx": ONNX}, "edgepress.exporters"
)
