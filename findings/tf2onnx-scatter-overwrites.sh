#!/usr/bin/env bash
# A scatter that sums what falls on one place keeps the last value alone after conversion to ONNX.
# Seen in tf2onnx 1.17.0 (Keras 3.15.1, TensorFlow 2.21.0, ONNX Runtime 1.32.0) for tf.scatter_nd and
# keras.ops.scatter, whose documentation says that duplicates add up. tensor_scatter_nd_add and segment_sum are right.
# Why it matters: pooling points into a grid (lidar, events, graphs) is such a scatter; with one point a cell, as in a
# small test, the file agrees, and with crowded cells it is wrong without an error.
# Instead: write tf.tensor_scatter_nd_add(zeros, indices, updates); it becomes a ScatterND that adds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

print("tf2onnx", version("tf2onnx"), "keras", keras.__version__, "onnxruntime", onnxruntime.__version__)
points = np.array([1, 10, 100], "float32")
cells = {"crowded": [[0], [0], [2]], "one each": [[0], [1], [2]]}

def grid(function):
    signature = [tf.TensorSpec((3,), name="x")]
    traced = tf.function(function, input_signature=signature)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=18)
    seen = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": points})[0]
    return traced(points).numpy().tolist(), seen.tolist()

found = {}
for name, where in cells.items():
    for scatter in ("keras.ops.scatter", "tensor_scatter_nd_add"):
        def function(x, where=where, scatter=scatter):
            if scatter == "keras.ops.scatter":
                return keras.ops.scatter(where, x, (3,))
            return tf.tensor_scatter_nd_add(tf.zeros(3), where, x)
        expected, seen = grid(function)
        found[name, scatter] = expected == seen
        print(f"1, 10, 100 in cells {where} by {scatter}: expected {expected}, seen {seen}")
wrong = [key for key, right in found.items() if not right]
sys.exit(0 if wrong == [("crowded", "keras.ops.scatter")] else 3)
PYTHON
