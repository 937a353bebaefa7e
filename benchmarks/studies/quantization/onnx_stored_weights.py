"""Weights of ONNX files stored in 8 bits: how they are expanded decides how fast a file is.

    python benchmarks/studies/quantization/onnx_stored_weights.py FOLDER cifar10.npz

FOLDER is what `edgepress export --format onnx --quantize float32,dynamic,int8-weights,int8` wrote
of a classifier of CIFAR-10's images as they are. A copy of the file of `int8-weights` with each
Cast and Mul of a weight as one DequantizeLinear is measured beside those. Prints bytes, medians of
processor time of single images, all files in turns on one thread, and the accuracy on all test
images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from edgepress.benchmarks.studies.quantization.onnx_activation_types import compare

ROUNDS = 800
PRECISIONS = ("float32", "dynamic", "int8-weights", "int8")


def dequantised(path: Path) -> bytes:
    """The file of `int8-weights` with DequantizeLinear in place of each Cast and Mul."""
    model = onnx.load(path)
    graph = model.graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    casts = {n.output[0]: n for n in graph.node if n.op_type == "Cast" and n.input[0] in stored}
    for node in list(graph.node):
        if node.op_type != "Mul" or node.input[0] not in casts:
            continue
        cast, scale = casts[node.input[0]], stored[node.input[1]]
        axis = int(np.argmax(scale.shape))
        old = next(t for t in graph.initializer if t.name == node.input[1])
        old.CopyFrom(onnx.numpy_helper.from_array(scale.ravel(), old.name))
        cast.op_type, cast.output[0] = "DequantizeLinear", node.output[0]
        cast.input.append(old.name)
        cast.attribute[0].CopyFrom(onnx.helper.make_attribute("axis", axis))
        graph.node.remove(node)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("data")
    given = parser.parse_args()
    with np.load(given.data) as data:
        x, y = data["x_test"].astype(np.float32), data["y_test"].ravel()
    files = {name: (given.folder / f"model_{name}.onnx").read_bytes() for name in PRECISIONS}
    files["DequantizeLinear"] = dequantised(given.folder / "model_int8-weights.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, content in files.items():
        print(f"{name:16} {len(content):,} bytes")
    sessions = {n: onnxruntime.InferenceSession(c, options) for n, c in files.items()}
    compare(sessions, x, y, ROUNDS)


if __name__ == "__main__":
    main()
