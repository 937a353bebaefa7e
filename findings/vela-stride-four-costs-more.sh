#!/usr/bin/env bash
# For Ethos-U55, Vela takes a convolution of stride 4 apart into one operation for each pixel of its output.
# Seen in ethos-u-vela 5.2.0 (files of TensorFlow 2.21.0): stride 4 is estimated at 25 times the cycles of stride 2 in the
# same place, for a fourth of its multiplications. The report still counts all operators as the NPU's; stride 3 is fine.
# Why it matters: patches of stride 4 (ConvNeXt, transformers) are chosen to be cheap, and their MACs say that they are.
# Instead: two layers of stride 2, or stride 2 and a pool; read cycles_total, not nn_macs, before choosing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 ethos-u-vela==5.2.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 PATH="$folder/venv/bin:$PATH" venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import csv
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
import numpy as np
import tensorflow as tf

print("ethos-u-vela", version("ethos-u-vela"), "tensorflow", tf.__version__)
random = np.random.default_rng(0)

def estimate(*strides):
    kernels = [random.normal(size=(3, 3, 16, 16)).astype("float32") for _ in strides]

    def network(x):
        for kernel, stride in zip(kernels, strides):
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, stride, "SAME"))
        return x

    traced = tf.function(network, input_signature=[tf.TensorSpec((1, 64, 64, 16))]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = random.normal(size=(10, 1, 64, 64, 16)).astype("float32")
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    name = "stride" + "-".join(map(str, strides))
    Path(name + ".tflite").write_bytes(converter.convert())
    command = ["vela", name + ".tflite", "--accelerator-config", "ethos-u55-128", "--output-dir", name]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    row = next(csv.DictReader(next(Path(name).glob("*summary*.csv")).open()))
    operators = int(re.search(r"NPU operators = (\d+)", said)[1])
    macs, cycles = int(float(row["nn_macs"])), int(float(row["cycles_total"]))
    print(f"strides {strides}: {macs:>8} MACs, {cycles:>7} cycles, {operators:>3} operators on the NPU")
    return macs, cycles

print("expected: a fourth of the multiplications takes less time")
two, three, four, twice = estimate(2), estimate(3), estimate(4), estimate(2, 2)
print(f"seen: stride 4 takes {four[1] / two[1]:.1f} times the cycles of stride 2 for {four[0] / two[0]:.2f} of its MACs")
sys.exit(0 if four[0] < two[0] / 2 and four[1] > two[1] and three[1] < two[1] and twice[1] < four[1] else 3)
PYTHON
