#!/usr/bin/env bash
# A file converted for integers only (TFLITE_BUILTINS_INT8, int8 in and out) can still compute in floats inside.
# Seen in TensorFlow 2.21.0 with Keras 3.15.1: LayerNormalization leaves DEQUANTIZE, NEG, QUANTIZE in it. The guide to
# full integer quantisation says that the converter raises an error where an operation can't be quantised.
# Why it matters: inputs and outputs are int8 and the conversion succeeds, so nothing tells that a processor without
# floats, or an NPU, can't run the file or hands it back to the CPU in the middle. cumsum, floor, round, square and
# elu do the same.
# Instead: after each conversion look for DEQUANTIZE among the operators, or for float32 among the tensors.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 ai-edge-litert==2.3.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

print("tensorflow", tf.__version__, "keras", keras.__version__, "ai-edge-litert", version("ai-edge-litert"))
samples = np.random.default_rng(0).normal(size=(50, 1, 4, 8)).astype("float32")

def integer_file(layer):
    """Its tensors' types, and the type of its input and output."""
    sequence = keras.Input((4, 8), batch_size=1)
    keras.Model(sequence, layer(sequence)).export("saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model("saved")
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    reader = Interpreter(model_content=converter.convert())
    ends = {d["dtype"].__name__ for d in reader.get_input_details() + reader.get_output_details()}
    inside = sorted({t["dtype"].__name__ for t in reader.get_tensor_details() if t["name"]})
    return ends, inside

print("expected: no float32 inside, or an error")
dense = integer_file(keras.layers.Dense(8, activation="sigmoid"))
normal = integer_file(keras.layers.LayerNormalization())
print("Dense:              ends", dense[0], "tensors", dense[1])
print("LayerNormalization: ends", normal[0], "tensors", normal[1])
still = dense[0] == normal[0] == {"int8"} and "float32" not in dense[1] and "float32" in normal[1]
sys.exit(0 if still else 3)
PYTHON
