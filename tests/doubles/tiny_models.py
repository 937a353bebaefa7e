"""Tiny real artifacts, built node by node, so that no converter is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def dense_onnx(path: Path, width: int = 4, seed: int = 0) -> Path:
    """y = relu(x W + b), free batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((3, width)).astype(np.float32)
    bias = rng.standard_normal(width).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["z"]),
            helper.make_node("Relu", ["z"], ["y"]),
        ],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, width])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def unknown_operator_tflite(path: Path) -> Path:
    """A whole file whose one operator no runtime has."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from edgepress.benchmarks.tflite.tiny_model import write_tiny_model

    content = write_tiny_model(path).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    code = model.operatorCodes[0]
    code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, b"NoSuchOperator"
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.subgraphs[0].operators[0].builtinOptionsType = 0
    model.subgraphs[0].operators[0].builtinOptions = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
