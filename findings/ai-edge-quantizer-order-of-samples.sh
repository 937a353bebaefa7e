#!/usr/bin/env bash
# The ranges that ai-edge-quantizer calibrates are a moving average: they depend on the samples' order and clip.
# Seen in ai-edge-quantizer 0.10.0 as Quantizer.calibrate() goes about it: each new sample counts for a twentieth, the
# first for all that is left. TensorFlow's converter takes the least and the largest value of all samples.
# Why it matters: more calibration samples don't widen the range, the same samples in another order give another
# file, and values well within what was shown are clipped.
# Instead: collect the ranges with calibrator.Calibrator(file, qsv_update_func=qsv_utils.min_max_update), or shuffle
# the samples and hold the input's and output's ranges in the file against the data's own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 ai-edge-litert==2.3.0 ai-edge-quantizer==0.10.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import contextlib
import sys
from importlib.metadata import version
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

print("ai-edge-quantizer", version("ai-edge-quantizer"), "tensorflow", tf.__version__)
random = np.random.default_rng(0)
weights = random.normal(size=(16, 8)).astype("float32")
samples = [random.normal(size=(1, 16)).astype("float32") for _ in range(200)]
by_size = sorted(samples, key=lambda sample: np.abs(sample).max())

class Net(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 16), name="x")])
    def __call__(self, x):
        return {"y": tf.matmul(x, weights)}

net = Net()
tf.saved_model.save(net, "saved", signatures=net.__call__.get_concrete_function())

def converter():
    return tf.lite.TFLiteConverter.from_saved_model("saved")

with open("net.tflite", "wb") as file:
    file.write(converter().convert())

def span(model):
    scale, zero = Interpreter(model_content=bytes(model)).get_input_details()[0]["quantization"]
    return round((-128 - zero) * scale, 2), round((127 - zero) * scale, 2)

def quantised(order):
    with contextlib.redirect_stdout(sys.stderr):
        work = quantizer.Quantizer("net.tflite", recipe.static_wi8_ai8())
        ranges = work.calibrate({"serving_default": [{"x": sample} for sample in order]})
        return span(work.quantize(ranges).quantized_model)

def converted(order):
    work = converter()
    work.optimizations = [tf.lite.Optimize.DEFAULT]
    work.representative_dataset = lambda: ({"x": sample} for sample in order)
    work.inference_input_type = work.inference_output_type = tf.int8
    return span(work.convert())

true = float(min(map(np.min, samples))), float(max(map(np.max, samples)))
print(f"200 samples lie in {true[0]:.2f} to {true[1]:.2f}; expected: that range, whatever their order")
print("TensorFlow's converter, small samples first:", converted(by_size), " large first:", converted(by_size[::-1]))
small, large = quantised(by_size), quantised(by_size[::-1])
print("ai-edge-quantizer,      small samples first:", small, " large first:", large)
still = converted(by_size) == converted(by_size[::-1]) and small[1] > 1.2 * large[1] and small[1] < 0.8 * true[1]
sys.exit(0 if still else 3)
PYTHON
