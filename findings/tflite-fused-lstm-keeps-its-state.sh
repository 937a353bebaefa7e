#!/usr/bin/env bash
# A Keras LSTM that begins each sequence with zeros is converted to an operator that begins it with the state in which
# the inference before ended. Seen in TensorFlow 2.21.0 with tf_keras 2.21.0, whose LSTM becomes
# UNIDIRECTIONAL_SEQUENCE_LSTM; stateful=False is its default.
# Why it matters: the first inference is right, so a check of one sample passes. Every later one depends on all before
# it: here by 0.13 where outputs reach 0.46, in float32.
# Instead: call reset_all_variables() (resetVariableTensors() in Java, ResetVariableTensors() in C++, Reset() in TFLM)
# before each sequence, compare a file with its model on several samples in a row, or unroll the layer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 tf_keras==2.21.0 ai-edge-litert==2.3.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter

print("tensorflow", tf.__version__, "tf_keras", tf_keras.__version__, "ai-edge-litert", version("ai-edge-litert"))
tf_keras.utils.set_random_seed(0)
sequence = tf_keras.Input((6, 4), batch_size=1)
model = tf_keras.Model(sequence, tf_keras.layers.LSTM(8)(sequence))
model.save("saved", save_format="tf")
content = tf.lite.TFLiteConverter.from_saved_model("saved").convert()
samples = np.random.default_rng(0).normal(size=(20, 1, 6, 4)).astype("float32")
wanted = [model(sample).numpy() for sample in samples]

def off(reset):
    """The largest difference to the model: of the first inference, and of all."""
    reader = Interpreter(model_content=content)
    reader.allocate_tensors()
    kinds.update(op["op_name"] for op in reader._get_ops_details())
    (given,), (found,) = reader.get_input_details(), reader.get_output_details()
    errors = []
    for sample, want in zip(samples, wanted):
        if reset:
            reader.reset_all_variables()
        reader.set_tensor(given["index"], sample)
        reader.invoke()
        errors.append(float(np.abs(reader.get_tensor(found["index"]) - want).max()))
    return errors[0], max(errors)

kinds = set()
plain, reset = off(False), off(True)
print("operators", sorted(kinds), "stateful", model.layers[1].stateful, f"largest output {np.abs(wanted).max():.2f}")
print("expected: every inference as the model's, within 1e-5")
print(f"without a reset: first {plain[0]:.1e}, worst {plain[1]:.1e}; with one before each: worst {reset[1]:.1e}")
still = "UNIDIRECTIONAL_SEQUENCE_LSTM" in kinds and plain[0] < 1e-5 < 1e-2 < plain[1] and reset[1] < 1e-5
sys.exit(0 if still else 3)
PYTHON
