#!/usr/bin/env bash
# tf2onnx gives one function other bytes with each conversion of a process.
# Seen in tf2onnx 1.17.0 with TensorFlow 2.21.0: names of tensors and nodes carry a counter of the whole process, which
# no conversion resets, and the graph's description names a TensorFlow function by how many there had been before. Two
# files of the same function differ, in length too once the counter gains a digit; both compute the same.
# Why it matters: a hash of the file doesn't tell whether the model has changed, so caches miss, "the same seed gives
# the same file" fails in long-lived services and notebooks, and exclusion lists by node name fit no second file.
# Instead: convert in a fresh process with PYTHONHASHSEED set, or set tf2onnx.utils.INTERNAL_NAME and clear
# graph.doc_string.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
  tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
CUDA_VISIBLE_DEVICES="" TF_CPP_MIN_LOG_LEVEL=3 PYTHONHASHSEED=0 \
  venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

for package in ("tensorflow", "tf2onnx", "onnx"):
    print(package, version(package), end="  ")
print()
kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("float32"))

def network(x):
    y = tf.nn.relu(tf.nn.conv2d(x, kernel, 2, "SAME"))
    return tf.reduce_mean(y, [1, 2])

def convert():
    signature = [tf.TensorSpec((1, 8, 8, 2), tf.float32, name="x")]
    return tf2onnx.convert.from_function(tf.function(network), signature, opset=18)[0]

def names(model):
    return {node.name for node in model.graph.node} | {o for node in model.graph.node for o in node.output}

first, second = convert(), convert()
tf2onnx.utils.INTERNAL_NAME = 1
third = convert()
tf2onnx.utils.INTERNAL_NAME = 1
fourth = convert()
for model in (third, fourth):
    model.graph.doc_string = ""
same = first.SerializeToString() == second.SerializeToString()
print("expected: one function, converted twice, gives equal bytes")
print("seen:     equal", same, "| names of one alone", sorted(names(first) ^ names(second))[:4])
print("          descriptions", repr(first.graph.doc_string), repr(second.graph.doc_string))
helped = third.SerializeToString() == fourth.SerializeToString()
print("          with the counter reset and no description: equal", helped)
sys.exit(0 if not same and names(first) != names(second) and helped else 3)
PYTHON
