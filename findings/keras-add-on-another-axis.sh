#!/usr/bin/env bash
# keras.ops.add of a square map and a vector along its middle axis adds the vector along the last axis.
# Seen in Keras 3.15.1 on TensorFlow 2.21.0. NumPy, keras.ops.subtract and the operator + broadcast as one expects.
# Why it matters: no error and the right shape, so position tables by row, and the bias of any convolution with
# the channels first whose output is as wide as it has filters, are trained and shipped on the wrong axis.
# Instead: write x + b on tensors, or keras.ops.subtract(x, -b); keep data_format="channels_last".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import keras
import numpy as np
import tensorflow as tf

print("keras", keras.__version__, "tensorflow", tf.__version__)

def table(width):
    x = np.zeros((1, 3, width), "float32")
    rows = np.array([[[1], [2], [3]]], "float32")
    added = np.array(keras.ops.add(x, rows))
    subtracted = np.array(keras.ops.subtract(x, -rows))
    print(f"zeros of 3 rows and {width} columns + (1, 2, 3) by row")
    print("  numpy    ", (x + rows)[0].tolist())
    print("  subtract ", subtracted[0].tolist())
    print("  add      ", added[0].tolist())
    return np.array_equal(added, x + rows), np.array_equal(subtracted, x + rows)

def bias_by_map(width):
    """What a convolution with the channels first does: it adds its bias, shaped (1, filters, 1, 1)."""
    maps = keras.ops.add(np.zeros((1, 4, 5, width), "float32"), np.arange(1, 5, dtype="float32").reshape(1, 4, 1, 1))
    right = all(np.all(np.array(maps)[0, i] == i + 1) for i in range(4))
    print(f"bias 1 to 4 on 4 maps that are {width} wide, channels first: each map its own bias: {right}")
    return right

print("expected: the sums that NumPy gives, whatever the width, and a bias by map")
wide, square = table(4), table(3)
biases = bias_by_map(6), bias_by_map(4)
print("seen: right for other widths, along the last axis where the width equals the vector's length")
sys.exit(0 if (wide, square, biases) == ((True, True), (False, True), (True, False)) else 3)
PYTHON
