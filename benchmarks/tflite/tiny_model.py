"""The smallest useful `.tflite` file: proves that a device can load and run one."""

from __future__ import annotations

from pathlib import Path

from edgepress.benchmarks.tflite.graph import packed


def write_tiny_model(path: Path) -> Path:
    """Write y = relu(x) on four float32 numbers.

    Args:
        path: Where the file goes.

    Returns:
        The file.
    """
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, [1, 4], 0
        made.type = schema.TensorType.FLOAT32
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [tensor("x"), tensor("y")], [operator]
    graph.inputs, graph.outputs = [0], [1]
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, [code]
    model.subgraphs, model.buffers = [graph], [schema.BufferT()]
    path.write_bytes(packed(model))
    return path
