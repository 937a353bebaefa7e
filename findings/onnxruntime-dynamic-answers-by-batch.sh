#!/usr/bin/env bash
# In a dynamically quantised ONNX model the answer for one sample depends on the other samples of its batch.
# Seen in ONNX Runtime 1.32.0 and onnx 1.23.2: DynamicQuantizeLinear takes one range over the whole tensor, batch and
# all. LiteRT's dynamic kernels, for the same idea, take one range for each row.
# Why it matters: accuracy measured in batches isn't that of single requests, one outlier spoils its neighbours, and a
# server that gathers requests gives the same client different answers.
# Instead: measure with the batch that will be served, 1 at best; quantise statically where batches are mixed.
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
from onnxruntime.quantization import quantize_dynamic

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
random = np.random.default_rng(0)
weights = random.normal(size=(32, 3)).astype("float32")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    [numpy_helper.from_array(weights, "w")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "float.onnx")
quantize_dynamic("float.onnx", "dynamic.onnx")
sample = random.normal(size=(1, 32)).astype("float32")
loud = np.full((1, 32), 100, "float32")

def answer(file, batch):
    return onnxruntime.InferenceSession(file).run(None, {"x": batch})[0][0]

rows = {}
for file in ("float.onnx", "dynamic.onnx"):
    alone, beside = answer(file, sample), answer(file, np.concatenate([sample, loud]))
    rows[file] = float(np.abs(alone - beside).max())
    print(f"{file:12} alone {alone.round(3).tolist()}  beside a loud sample {beside.round(3).tolist()}")
error = float(np.abs(answer("dynamic.onnx", sample) - answer("float.onnx", sample)).max())
print("expected: a sample's answer is its own, as in the float file")
print(f"seen: it moves by {rows['dynamic.onnx']:.3f}; quantisation alone costs {error:.3f}")
sys.exit(0 if rows["float.onnx"] < 1e-4 and rows["dynamic.onnx"] > 5 * error else 3)
PYTHON
