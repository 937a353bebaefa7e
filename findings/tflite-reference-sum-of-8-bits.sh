#!/usr/bin/env bash
# LiteRT's reference kernel of SUM gives wrong numbers for 8-bit tensors; the default kernels give right ones.
# Seen in ai-edge-litert 2.3.0 with a file of TensorFlow 2.21.0; MEAN is right in both.
# Why it matters: the reference kernels are what one checks a file against, and what is left on processors for which
# nothing faster was built. The sum of 8 numbers from 0 to 1 is off by up to 4.
# Instead: write a sum as a mean times the number of its terms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 ai-edge-litert==2.3.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

print("tensorflow", tf.__version__, "ai-edge-litert", version("ai-edge-litert"))
samples = [np.random.default_rng(i).random((1, 8)).astype("float32") for i in range(100)]
KERNELS = {"reference": OpResolverType.BUILTIN_REF, "default": OpResolverType.AUTO}

def worst(reduce):
    """The largest error of a reduction's int8 file in each set of kernels."""
    function = tf.function(lambda x: reduce(x * 1.0, 1), input_signature=[tf.TensorSpec((1, 8))])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x] for x in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    content, found = converter.convert(), {}
    for name, kind in KERNELS.items():
        reader = Interpreter(model_content=content, experimental_op_resolver_type=kind)
        reader.allocate_tensors()
        (given,), (result,) = reader.get_input_details(), reader.get_output_details()
        errors = []
        for x in samples[:20]:
            reader.set_tensor(given["index"], x)
            reader.invoke()
            errors.append(float(np.abs(reader.get_tensor(result["index"]) - function(x)).max()))
        found[name] = max(errors)
    return found

print("expected: errors of about a step, a 255th of the range, in both sets of kernels")
totals, means = worst(tf.reduce_sum), worst(tf.reduce_mean)
print("largest error of a sum:", {k: round(v, 4) for k, v in totals.items()})
print("largest error of a mean:", {k: round(v, 4) for k, v in means.items()})
right = totals["default"] < 0.1 and max(means.values()) < 0.1
sys.exit(0 if right and totals["reference"] > 1 else 3)
PYTHON
