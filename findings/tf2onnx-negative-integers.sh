#!/usr/bin/env bash
# Floor division, remainder and one-hot of negative integers change their values on the way to ONNX.
# Seen in tf2onnx 1.17.0 (TensorFlow 2.21.0, ONNX Runtime 1.32.0): -7 // 2 becomes -3, -7 % 3 becomes -1, and one_hot
# of -1, the usual padding, marks the last class instead of none. LiteRT gives TensorFlow's values, and so does the
# ONNX file for the same division and remainder of floats.
# Why it matters: indices, hours that wrap, buckets of hashes and padded labels are integers; conversion succeeds, and
# samples without negative numbers agree to the last bit.
# Instead: divide and take remainders as floats and cast, or shift to non-negative numbers; mask padding by yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

print("tf2onnx", version("tf2onnx"), "tensorflow", tf.__version__, "onnxruntime", onnxruntime.__version__)
x = np.array([-7, -1, 0, 2], "int32")

def same(name, function):
    signature = [tf.TensorSpec((4,), tf.int32, name="x")]
    traced = tf.function(function, input_signature=signature)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=18)
    seen = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    expected = traced(x).numpy()
    print(f"{name}: expected {expected.tolist()}, seen {seen.tolist()}")
    return np.array_equal(expected, seen)

def as_floats(operation):
    return lambda v: tf.cast(operation(tf.cast(v, tf.float32)), tf.int32)

print("x:", x.tolist())
whole = same("x // 2", lambda v: v // 2), same("x % 3", lambda v: v % 3), same("one_hot(x, 3)", lambda v: tf.one_hot(v, 3))
floats = same("x // 2 by floats", as_floats(lambda v: v // 2)), same("x % 3 by floats", as_floats(lambda v: v % 3))
sys.exit(0 if not any(whole) and all(floats) else 3)
PYTHON
