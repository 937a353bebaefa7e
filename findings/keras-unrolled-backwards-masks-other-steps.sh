#!/usr/bin/env bash
# A recurrent layer that runs backwards gives other outputs for masked sequences when it is unrolled.
# Seen in Keras 3.15.1 on TensorFlow 2.21.0: with zero_output_for_mask, which Bidirectional sets where it returns
# sequences, unroll=True gives zeros for the steps counted from the other end.
# Why it matters: unroll is documented as a matter of speed, and converters ask for it; of a sentence of two words
# padded to six, the outputs of both words are zeros, too, without a warning.
# Instead: zero the outputs yourself, by the mask in the order of the outputs, or don't unroll.
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
x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
mask = np.array([[True, True, False, False, False, False]])

def zeros(unroll, go_backwards):
    """Steps of the outputs that are zeros, and the outputs."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.GRU(
        4, return_sequences=True, zero_output_for_mask=True, unroll=unroll, go_backwards=go_backwards
    )
    outputs = np.asarray(layer(x, mask=mask))
    return [step for step in range(6) if not outputs[0, step].any()], outputs

print("two steps of six count; outputs of a backwards layer are in the order in which it runs")
print("expected: unrolled or not, the same outputs")
same = []
for backwards in (False, True):
    (loop, a), (unrolled, b) = zeros(False, backwards), zeros(True, backwards)
    same.append(bool(np.allclose(a, b, atol=1e-6)))
    print(f"go_backwards={backwards}: zeros at steps {loop} in a loop, {unrolled} unrolled; equal: {same[-1]}")
sys.exit(0 if same == [True, False] else 3)
PYTHON
