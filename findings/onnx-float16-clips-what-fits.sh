#!/usr/bin/env bash
# onnxconverter-common's float16 converter changes constants that float16 holds: beyond 10,000 they become 10,000.
# Seen in onnxconverter-common 1.16.0: a division by 32768, as for audio of 16 bits, becomes one by 10,000, though
# float16 goes to 65,504 and holds 32768 exactly. The copy of this function in ONNX Runtime 1.32.0 leaves it alone.
# Why it matters: the file runs, every value is too large by a factor of 3.3, and a classifier still answers something.
# The warning speaks of a number that was truncated, as it does for numbers that can't be kept.
# Instead: pass max_finite_val=65504.0, or take onnxruntime.transformers.float16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.32.0 onnxconverter-common==1.16.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common import float16 as common
from onnxruntime.transformers import float16 as runtime

for package in ("onnx", "onnxruntime", "onnxconverter-common"):
    print(package, version(package), end="  ")
print()
x = np.array([-32768, 8192, 16384], "float32")
graph = helper.make_graph(
    [helper.make_node("Div", ["x", "full"], ["y"])], "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    [numpy_helper.from_array(np.array([32768], "float32"), "full")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

def run(file):
    return onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})[0].astype("float32")

def converted(library, **options):
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    return run(library.convert_float_to_float16(copy, keep_io_types=True, **options))

expected = run(model)
print("x                                  ", x.tolist())
print("expected, x / 32768                ", expected.tolist())
found, sibling, helped = converted(common), converted(runtime), converted(common, max_finite_val=65504.0)
print("seen, onnxconverter-common         ", found.round(3).tolist())
print("seen, onnxruntime.transformers     ", sibling.round(3).tolist())
print("seen, with max_finite_val=65504    ", helped.round(3).tolist())
right = all(np.allclose(seen, expected, rtol=1e-3) for seen in (sibling, helped))
sys.exit(0 if right and np.allclose(found, 3.2768 * expected, rtol=1e-2) else 3)
PYTHON
