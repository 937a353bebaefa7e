#!/usr/bin/env bash
# model.export() writes an open batch into every format, also where the Input says batch_size=1.
# Seen in Keras 3.15.1 with TensorFlow 2.21.0 and tf2onnx 1.17.0: SavedModel, LiteRT and ONNX files all take any batch.
# TFLiteConverter.from_keras_model of the same model keeps 1, and so does saving it and loading it again.
# Why it matters: the batch was fixed for compilers and runtimes that need fixed shapes; they refuse the file, leave
# operators on the CPU, or plan memory for shapes that aren't so.
# Instead: pass input_signature=[keras.InputSpec(shape=(1, ...), dtype=...)] to export().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 ai-edge-litert==2.3.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import contextlib
import sys
from importlib.metadata import version
import keras
import onnx
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

print("keras", keras.__version__, "tensorflow", tf.__version__, "tf2onnx", version("tf2onnx"))
image = keras.Input((8, 8, 3), batch_size=1)
model = keras.Model(image, keras.layers.Conv2D(4, 3)(image))

def lite_batch(file):
    return int(Interpreter(model_content=file).get_input_details()[0]["shape_signature"][0])

def batches(**options):
    with contextlib.redirect_stdout(sys.stderr):
        model.export("saved", verbose=False, **options)
        model.export("net.tflite", format="litert", verbose=False, **options)
        model.export("net.onnx", format="onnx", verbose=False, **options)
    inputs = tf.saved_model.load("saved").signatures["serving_default"].structured_input_signature[1]
    dimension = onnx.load("net.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    with open("net.tflite", "rb") as file:
        return next(iter(inputs.values())).shape[0], lite_batch(file.read()), dimension.dim_value or dimension.dim_param

print("the model's input:", model.inputs[0].shape)
with contextlib.redirect_stdout(sys.stderr):
    direct = lite_batch(tf.lite.TFLiteConverter.from_keras_model(model).convert())
plain, told = batches(), batches(input_signature=[keras.InputSpec(shape=(1, 8, 8, 3), dtype="float32")])
print("expected: batch 1, as from_keras_model gives:", direct)
print("seen, SavedModel, LiteRT, ONNX:", plain)
print("with input_signature:", told)
opened = plain[0] is None and plain[1] == -1 and isinstance(plain[2], str)
sys.exit(0 if direct == 1 and opened and told == (1, 1, 1) else 3)
PYTHON
