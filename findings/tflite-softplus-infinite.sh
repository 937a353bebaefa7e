#!/usr/bin/env bash
# TensorFlow's converter writes softplus as log(1 + exp(x)), so that LiteRT answers infinity from 88.8 on.
# Seen in TensorFlow 2.21.0 with LiteRT (ai-edge-litert) 2.3.0. TensorFlow's own kernel gives x there, and the
# converter's log_softmax, as easily overflown, is safe; log_sigmoid inherits the fault as minus infinity.
# Why it matters: softplus ends networks that estimate variances, rates and depths; samples of a test that stay small
# pass, and one large value in the field makes the output infinite and whatever is computed from it nan.
# Instead: write relu(x) + log(1 + exp(-abs(x))), which says the same and can't overflow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 ai-edge-litert==2.3.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

print("tensorflow", tf.__version__, "ai-edge-litert", version("ai-edge-litert"))
x = np.array([-2, 2, 80, 88, 89, 100], "float32")

def both(function):
    traced = tf.function(function, input_signature=[tf.TensorSpec((6,))]).get_concrete_function()
    reader = Interpreter(model_content=tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert())
    reader.allocate_tensors()
    reader.set_tensor(reader.get_input_details()[0]["index"], x)
    reader.invoke()
    return traced(tf.constant(x)).numpy(), reader.get_tensor(reader.get_output_details()[0]["index"])

plain, lite = both(lambda v: tf.nn.softplus(v))
safe, safe_lite = both(lambda v: tf.nn.relu(v) + tf.math.log(1 + tf.exp(-tf.abs(v))))
print("x                 ", x.tolist())
print("expected          ", plain.round(3).tolist())
print("softplus in LiteRT", lite.round(3).tolist())
print("the safe form     ", safe_lite.round(3).tolist())
still = np.isinf(lite).tolist() == [False] * 4 + [True] * 2 and np.all(np.isfinite(plain))
sys.exit(0 if still and np.allclose(safe_lite, plain, atol=1e-5) else 3)
PYTHON
