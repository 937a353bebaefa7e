#!/usr/bin/env bash
# TFLite's schema asks for constants at multiples of 16 bytes (`force_align: 16` of Buffer.data), and files written by
# the converter have them there. The Python classes that LiteRT ships for editing files put them anywhere.
# Seen in ai-edge-litert 2.3.0 with flatbuffers 25.12.19: a model packed by ModelT.Pack holds its constants at multiples of
# 4, whatever the schema says; reading and packing a file again moves them.
# Why it matters: nothing refuses such a file, but kernels that load vectors from flash or by aligned instructions are
# slower, copy their weights, or fault, on the device and not on the machine where the file was edited.
# Instead: subclass flatbuffers.Builder and call Prep(16, size) before byte vectors, or check addresses modulo 16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cd "$folder"
cat >shown.py <<'EOF'
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

model = schema.ModelT()
model.version, model.operatorCodes, model.subgraphs = 3, [], []
model.buffers = [schema.BufferT() for _ in range(8)]
for number, buffer in enumerate(model.buffers):
    buffer.data = np.full(20 + 3 * number, number + 1, np.uint8)
builder = flatbuffers.Builder(1024)
builder.Finish(model.Pack(builder), b"TFL3")
content = bytes(builder.Output())

read = schema.Model.GetRootAs(content, 0)
rests = []
for number in range(read.BuffersLength()):
    buffer = read.Buffers(number)
    begins = content.find(buffer.DataAsNumpy().tobytes())
    rests.append(begins % 16)
print("expected: every constant begins at a multiple of 16 bytes")
print(f"seen: addresses modulo 16 are {rests}")
sys.exit(0 if any(rests) else 3)
EOF
venv/bin/pip list 2>/dev/null | grep -iE '^(ai-edge-litert|flatbuffers|numpy) '
venv/bin/python shown.py
