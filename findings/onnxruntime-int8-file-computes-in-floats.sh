#!/usr/bin/env bash
# quantize_static puts integers around operators for which ONNX Runtime has no integer kernel: they run in floats.
# Seen in ONNX Runtime 1.32.0 on the CPU: ConvTranspose, HardSigmoid and Tanh stay floats between DequantizeLinear and
# QuantizeLinear, and with 16-bit activations so do Conv and all else. Conv, pools and Sigmoid become integer kernels.
# Why it matters: the quantiser accepts them, the file is small and its accuracy is that of int8; a decoder of transposed
# convolutions or a MobileNetV3 costs two conversions more instead of running faster.
# Instead: save the optimised graph (SessionOptions.optimized_model_filepath) and read which operators are left, or use
# Resize and Conv for ConvTranspose and Sigmoid for HardSigmoid where speed on this runtime is the aim.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
random = np.random.default_rng(0)

class Samples(CalibrationDataReader):
    def __init__(self):
        self.rest = [{"x": random.normal(size=(1, 4, 8, 8)).astype("float32")} for _ in range(10)]

    def get_next(self):
        return self.rest.pop() if self.rest else None

def kernels(operator, activations=QuantType.QUInt8, **attributes):
    """What runs after optimisation where one operator stands alone between the ends of a quantised file."""
    weights = ["w"] if "Conv" in operator else []
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *weights], ["y"], **attributes)], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        [numpy_helper.from_array(random.normal(size=(4, 4, 3, 3)).astype("float32"), "w")] if weights else [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), "float.onnx")
    quantize_static("float.onnx", "int8.onnx", Samples(), activation_type=activations, op_types_to_quantize=[operator])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = "optimised.onnx"
    onnxruntime.InferenceSession("int8.onnx", options, providers=["CPUExecutionProvider"])
    written = [node.op_type for node in onnx.load("int8.onnx").graph.node]
    run = [node.op_type for node in onnx.load("optimised.onnx").graph.node]
    assert "QuantizeLinear" in written, written
    return run

print("expected: an integer kernel (QLinear...) for each operator that the quantiser took")
found = {
    "Conv": kernels("Conv"), "Sigmoid": kernels("Sigmoid"), "ConvTranspose": kernels("ConvTranspose"),
    "HardSigmoid": kernels("HardSigmoid"), "Tanh": kernels("Tanh"), "Conv, 16 bits": kernels("Conv", QuantType.QInt16),
}
for name, run in found.items():
    print(f"{name:14} {' '.join(run)}")
floats = [name for name, run in found.items() if not any(kernel.startswith("QLinear") for kernel in run)]
sys.exit(0 if floats == ["ConvTranspose", "HardSigmoid", "Tanh", "Conv, 16 bits"] else 3)
PYTHON
