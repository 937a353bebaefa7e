#!/usr/bin/env bash
# A buffer of LiteRT's CompiledModel takes arrays of another type or length and computes with their bytes.
# Seen in ai-edge-litert 2.3.0: TensorBuffer.write() of int32 or float16 into a float32 input raises nothing, and a
# shorter array leaves what was there before behind it. float64 is refused, and the older Interpreter's set_tensor()
# refuses all of them by name.
# Why it matters: CompiledModel is the road that code is told to move to. Pixels that were never cast to float32, or
# one row of a batch, give plausible or tiny numbers instead of the error that the same line gave before.
# Instead: compare dtype and shape with get_input_tensor_details() before each write.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
from importlib.metadata import version
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

print("ai-edge-litert", version("ai-edge-litert"))

def doubling_network():
    """A file that adds four floats to themselves."""
    code, operator, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD, schema.BuiltinOperator.ADD
    operator.inputs, operator.outputs = [0, 0], [1]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, [1, 4], schema.TensorType.FLOAT32
        graph.tensors = [*(graph.tensors or []), tensor]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())

file = doubling_network()
compiled, older = CompiledModel.from_buffer(file), Interpreter(model_content=file)
older.allocate_tensors()

def by_compiled(x):
    inputs, outputs = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    inputs[0].write(np.array([[5, 6, 7, 8]], "float32"))
    try:
        inputs[0].write(x)
    except Exception as error:
        return f"refused: {error}"
    compiled.run_by_index(0, inputs, outputs)
    return outputs[0].read(4, np.float32).tolist()

def by_interpreter(x):
    try:
        older.set_tensor(older.get_input_details()[0]["index"], x)
    except ValueError:
        return "refused"
    older.invoke()
    return older.get_tensor(older.get_output_details()[0]["index"]).ravel().tolist()

print("a network that doubles 1, 2, 3, 4; expected: 2, 4, 6, 8 or a refusal")
found = {}
whole = np.array([[1, 2, 3, 4]], "float32")
for name, x in {"float32": whole, "float64": whole.astype("float64"), "int32": whole.astype("int32"),
                "float16": whole.astype("float16"), "two of four": whole[:, :2].copy()}.items():
    found[name] = by_interpreter(x), by_compiled(x)
    print(f"{name:12} Interpreter: {found[name][0]}   CompiledModel: {found[name][1]}")
careful = all(found[name][0] == "refused" for name in found if name != "float32")
taken = [name for name, (_, seen) in found.items() if not str(seen).startswith("refused")]
right = found["float32"] == ([2, 4, 6, 8], [2, 4, 6, 8])
sys.exit(0 if right and careful and taken == ["float32", "int32", "float16", "two of four"] else 3)
PYTHON
