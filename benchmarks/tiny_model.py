"""The smallest useful `.tflite` file: proves that a device can load and run one."""

from __future__ import annotations

from pathlib import Path


def write_tiny_model(path: Path) -> Path:
    """Write y = relu(x) on four float32 numbers.

    Args:
        path: Where the file goes.

    Returns:
        The file.
    """
    import flatbuffers
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
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
