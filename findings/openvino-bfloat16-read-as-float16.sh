#!/usr/bin/env bash
# OpenVINO hands bfloat16 outputs to NumPy as float16 without converting them: the same bits, other numbers, no error.
# Seen in openvino 2026.4.1 with an ONNX model whose output is bfloat16; ov.Type.bf16.to_dtype() says float16 as well.
# Why it matters: 1.0 reads as 1.875, 0.5 as 1.75 and -2.0 as -2.0: of the right sign and a plausible size, so that a
# look at the numbers or an arg max may notice nothing. Files of models kept in bfloat16 have such outputs.
# Instead: let the model end in float32 (PrePostProcessor: output().tensor().set_element_type(ov.Type.f32)), or read the
# bits with output.view("uint16") and widen them; for a type's name use get_type_name(), not to_dtype().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile openvino==2026.4.1 onnx==1.22.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper

print("openvino", ov.__version__.partition("-")[0], "onnx", onnx.__version__)
given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
found = helper.make_tensor_value_info("y", TensorProto.BFLOAT16, [4])
cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
graph = helper.make_graph([cast], "widen", [given], [found])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "model.onnx")
model = ov.Core().read_model("model.onnx")
x = np.float32([1, -2, 0.5, 0.0009765625])

def run(model):
    return ov.Core().compile_model(model, "CPU")(x)[0]

kind, got = model.output().element_type.get_type_name(), run(model)
widened = (got.view("uint16").astype("uint32") << 16).view("float32")
wide = ov.preprocess.PrePostProcessor(model)
wide.output().tensor().set_element_type(ov.Type.f32)
right = run(wide.build())
print("type of the output:", kind, "; to_dtype():", np.dtype(ov.Type.bf16.to_dtype()))
print("expected:", x, "or an error")
print("read    :", got.dtype, got, "; the same bits as bfloat16:", widened, "; ending in float32:", right)
still = got.dtype == np.float16 and not np.allclose(got, x, rtol=0.1)
still = still and np.array_equal(widened, x) and np.array_equal(right, x)
sys.exit(0 if still else 3)
PYTHON
