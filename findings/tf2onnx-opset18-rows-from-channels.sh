#!/usr/bin/env bash
# A layer normalisation behind a convolution whose map is 1 x 1 pixel multiplies the batch by the channels in opset 18.
# Seen in tf2onnx 1.17.0 with Keras 3.15.1 and ONNX Runtime 1.32.0: 2 samples in, 16 answers out. Opset 17 is right.
# Why it matters: a newer opset looks like the safer choice and the checker passes; ConvNeXt and its kin at small
# images get there. Code that reads the first row, or the mean over rows, goes on with wrong numbers.
# Instead: convert with opset 17 or less, and compare shapes as well as values of the outputs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

print("tf2onnx", version("tf2onnx"), "keras", keras.__version__, "onnxruntime", onnxruntime.__version__)
layers = keras.layers
random = np.random.default_rng(0)

def outcome(size, opset):
    image = keras.Input((size, size, 4))
    normalised = layers.LayerNormalization()(layers.Conv2D(8, 3)(image))
    model = keras.Model(image, layers.Dense(5)(layers.Flatten()(normalised)))
    x = random.normal(size=(2, size, size, 4)).astype("float32")
    signature = [tf.TensorSpec((None, size, size, 4), name="x")]
    traced = tf.function(lambda v: model(v, training=False), input_signature=signature, autograph=False)
    file, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=opset)
    onnx.checker.check_model(file)
    seen = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})[0]
    expected = model.predict(x, verbose=0)
    right = seen.shape == expected.shape and bool(np.allclose(seen, expected, atol=1e-4))
    print(f"map of {size - 2} x {size - 2}, opset {opset}: expected {expected.shape}, seen {seen.shape}, equal: {right}")
    return right

found = {(size, opset): outcome(size, opset) for size in (3, 4) for opset in (17, 18)}
sys.exit(0 if [key for key, right in found.items() if not right] == [(3, 18)] else 3)
PYTHON
