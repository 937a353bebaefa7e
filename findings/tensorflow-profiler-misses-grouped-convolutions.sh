#!/usr/bin/env bash
# TensorFlow's profiler counts no operations for Keras 3's grouped convolutions: they are inside a compiled function.
# Seen in TensorFlow 2.21.0 with Keras 3.15.1. The float_operation count of a frozen graph, the usual recipe for FLOPs,
# leaves such a convolution out; tf.nn.conv2d of the same kernel is counted in full.
# Why it matters: a ResNeXt or RegNet looks many times cheaper than it is, beside networks that are counted rightly.
# Instead: look for calls that are left in the frozen graph before trusting the sum, or count layer by layer:
# 2 * output size * kernel size (height * width * channels / groups).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

print("tensorflow", tf.__version__, "keras", keras.__version__)

def counted(function):
    frozen = convert_variables_to_constants_v2(tf.function(function).get_concrete_function(tf.TensorSpec((1, 16, 16, 8))))
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    left = sorted({node.op for node in frozen.graph.as_graph_def().node if "Call" in node.op})
    return tf.compat.v1.profiler.profile(frozen.graph, options=options, cmd="op").total_float_ops, left

def check(name, function, groups):
    found, calls = counted(function)
    true = 2 * 16 * 16 * 16 * (3 * 3 * 8 // groups)
    print(f"{name}: expected {true}, and at most {16 * 16 * 16} for a bias; seen {found}; calls left: {calls}")
    return true <= found <= true + 16 * 16 * 16

layers = {groups: keras.layers.Conv2D(16, 3, padding="same", groups=groups) for groups in (1, 4)}
for layer in layers.values():
    layer.build((1, 16, 16, 8))
kernel = tf.constant(keras.ops.convert_to_numpy(layers[4].kernel))
plain = check("Keras, 1 group     ", layers[1], 1)
grouped = check("Keras, 4 groups    ", layers[4], 4)
bare = check("tf.nn, 4 groups    ", lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), 4)
sys.exit(0 if (plain, grouped, bare) == (True, False, True) else 3)
PYTHON
