"""The table of formats."""

from __future__ import annotations

from edgepress.compress.kernel.registry import Table
from edgepress.deploy.exporters.c.source import write_c
from edgepress.deploy.exporters.c_standalone.library import open_library
from edgepress.deploy.exporters.c_standalone.source import write_standalone
from edgepress.deploy.exporters.exporter import Exporter
from edgepress.deploy.exporters.onnx.writing import write_onnx
from edgepress.deploy.exporters.tflite.writing import write_tflite
from edgepress.deploy.quantize.precision import PRECISIONS

TFLITE = Exporter(
    suffix=".tflite",
    precisions=frozenset(PRECISIONS),
    integer_io=frozenset({"int8"}),
    write=write_tflite,
    task="tflite",
)

ONNX = Exporter(
    suffix=".onnx",
    precisions=frozenset({"float32", "float16", "dynamic", "int8", "int8-weights"}),
    integer_io=frozenset(),
    write=write_onnx,
    task="onnx",
    absent={
        "int16x8": "ONNX Runtime has no kernels for int16 activations with int8 weights",
        "int4-weights": "files of opset 18 and before have no numbers of 4 bits; take int8-weights",
    },
)

C_SOURCE = Exporter(
    suffix=".cc",
    precisions=frozenset({"float32", "int8", "int16x8"}),
    integer_io=frozenset({"int8"}),
    write=write_c,
    task="tflite",
    absent={
        "float16": "TensorFlow Lite Micro has no kernels for float16 weights",
        "dynamic": "TensorFlow Lite Micro has no kernels for float inputs with int8 weights",
        "int8-weights": "TensorFlow Lite Micro has no kernels for float inputs with int8 weights",
        "int4-weights": "TensorFlow Lite Micro has no kernels for float inputs with int4 weights",
    },
)

C_STANDALONE = Exporter(
    suffix="_standalone.c",
    precisions=frozenset({"int8"}),
    integer_io=frozenset({"int8"}),
    write=write_standalone,
    task="tflite",
    absent=dict.fromkeys(
        set(PRECISIONS) - {"int8"}, "c-standalone computes in int8 alone; --format c has others"
    ),
    open=open_library,
)

EXPORTERS: Table[Exporter] = Table(
    "format",
    {"tflite": TFLITE, "onnx": ONNX, "c": C_SOURCE, "c-standalone": C_STANDALONE},
    "edgepress.exporters",
)
