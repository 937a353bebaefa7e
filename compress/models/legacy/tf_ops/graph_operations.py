"""Nodes of a TensorFlow graph by their operation name, in terms of `keras.ops`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.tf_ops import functions as f
from edgepress.compress.models.legacy.tf_ops import shapes as shapes

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_DTYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_BFLOAT16": "bfloat16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_BOOL": "bool",
}


@dataclass(frozen=True)
class Node:
    """One node: its operation and its attributes as JSON values."""

    name: str
    op: str
    attributes: Mapping[str, Any]

    def text(self, key: str, default: str = "") -> str:
        """An attribute that is a text (saved in base64) or a dtype."""
        value = self.attributes.get(key, {})
        if "type" in value:
            return str(value["type"])
        if "s" not in value:
            return default
        try:
            return base64.b64decode(value["s"], validate=True).decode()
        except ValueError:
            return str(value["s"])

    def number(self, key: str, default: Any = 0) -> Any:
        """An attribute that is a number or a truth value."""
        value = self.attributes.get(key, {})
        if "b" in value:
            return bool(value["b"])
        if "f" in value:
            return float(value["f"])
        return int(value["i"]) if "i" in value else default

    def numbers(self, key: str) -> list[int]:
        """An attribute that is a list of integers."""
        return [int(i) for i in self.attributes.get(key, {}).get("list", {}).get("i", [])]


def parse_node(saved: Any) -> Node:
    """A node as tf.keras saves it: JSON, or the bytes of the message in a text."""
    if isinstance(saved, str):
        try:
            saved = json.loads(saved)
        except json.JSONDecodeError:
            saved = _from_bytes(saved)
    return Node(str(saved.get("name", "")), str(saved["op"]), saved.get("attr", {}))


def _from_bytes(text: str) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.framework.node_def_pb2 import NodeDef

    return MessageToDict(NodeDef.FromString(text.encode("utf-8")), preserving_proto_field_name=True)


def constant(saved: Any) -> Any:
    """A constant operand: numbers as an array of 32-bit values."""
    array = np.asarray(saved)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    return array.astype(np.int32) if array.dtype == np.int64 else array


def _list(value: Any) -> Any:
    """An operand that is a setting (an axis, a shape) as plain numbers."""
    if isinstance(value, shapes.Size):
        return value
    if hasattr(value, "_keras_history"):
        raise InputError("a computed shape or axis can't be converted", "use a fixed one")
    return np.asarray(value).tolist() if not isinstance(value, list) else value


def evaluate(node: Node, inputs: Sequence[Any]) -> Any:
    """Record the node on symbolic inputs.

    Args:
        node: The node.
        inputs: Its operands in order: tensors and arrays.

    Returns:
        Its output, or a list of them.

    Raises:
        InputError: The operation isn't in the table.
    """
    entry = OPERATIONS.get(node.op)
    if entry is None:
        raise InputError(
            f"'{node.name}' is the TensorFlow operation {node.op}, which has no known counterpart",
            "replace it by a Keras layer and save the model again",
        )
    return entry(node, *inputs)


def _simple(name: str) -> Callable[..., Any]:
    """A function of `tf_functions` that takes tensors only."""
    return lambda node, *tensors: f.FUNCTIONS[name](*tensors)


def _reduce(name: str) -> Callable[..., Any]:
    def call(node: Node, x: Tensor, axis: int | Sequence[int] | None) -> Any:
        keep = node.number("keep_dims", False)
        axis = _list(axis)
        return f.FUNCTIONS[name](x, axis=axis, keepdims=keep)

    return call


def _strided(node: Node, x: Tensor, begin: Any, end: Any, strides: Any) -> Any:
    """Python slicing as TensorFlow encodes it: four masks over begin, end and stride."""
    masks = {
        key: node.number(f"{key}_mask", 0)
        for key in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    index: list[Any] = []
    for place, (start, stop, step) in enumerate(
        zip(_list(begin), _list(end), _list(strides), strict=True)
    ):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            index.append(Ellipsis)
        elif masks["new_axis"] & bit:
            index.append(None)
        elif masks["shrink_axis"] & bit:
            index.append(start)
        else:
            index.append(
                slice(
                    None if masks["begin"] & bit else start,
                    None if masks["end"] & bit else stop,
                    step,
                )
            )
    if isinstance(x, shapes.Size):
        return shapes.Size(x.value[index[0]])
    return shapes.index_tensor(x, tuple(index))


def _slice(node: Node, x: Tensor, begin: Any, size: Any) -> Any:
    pairs = zip(_list(begin), _list(size), strict=True)
    return x[tuple(slice(b, None if n == -1 else b + n) for b, n in pairs)]


def _padding(node: Node) -> str:
    padding = node.text("padding", "VALID").lower()
    if padding not in ("same", "valid"):
        raise InputError(f"'{node.name}' pads explicitly", "pad with a ZeroPadding layer")
    return padding


def _format(node: Node) -> str:
    first = node.text("data_format", "NHWC") in ("NCHW", "NCDHW")
    return "channels_first" if first else "channels_last"


def _inner(node: Node, key: str) -> list[int]:
    """A per-axis setting without its batch and channel entries."""
    values = node.numbers(key) or [1, 1, 1, 1]
    return values[2:] if _format(node) == "channels_first" else values[1:-1]


def _conv(node: Node, x: Tensor, kernel: Any) -> Any:
    from keras import ops

    return ops.conv(
        x,
        kernel,
        strides=_inner(node, "strides"),
        padding=_padding(node),
        data_format=_format(node),
        dilation_rate=_inner(node, "dilations"),
    )


def _depthwise(node: Node, x: Tensor, kernel: Any) -> Any:
    from keras import ops

    return ops.depthwise_conv(
        x,
        kernel,
        strides=_inner(node, "strides"),
        padding=_padding(node),
        data_format=_format(node),
        dilation_rate=_inner(node, "dilations"),
    )


def _pool(name: str) -> Callable[..., Any]:
    def call(node: Node, x: Tensor) -> Any:
        from keras import ops

        return getattr(ops, name)(
            x,
            _inner(node, "ksize"),
            strides=_inner(node, "strides"),
            padding=_padding(node),
            data_format=_format(node),
        )

    return call


def _squeeze(node: Node, x: Tensor) -> Any:
    from keras import ops

    axes = node.numbers("squeeze_dims") or node.numbers("axis")
    return ops.squeeze(x, axis=tuple(axes) if axes else None)


def _matmul(node: Node, a: Tensor, b: Tensor) -> Any:
    left = node.number("transpose_a", False) or node.number("adj_x", False)
    right = node.number("transpose_b", False) or node.number("adj_y", False)
    return f.FUNCTIONS["matmul"](a, b, transpose_a=left, transpose_b=right)


def _cast(node: Node, x: Tensor) -> Any:
    return f.FUNCTIONS["cast"](x, _DTYPES[node.text("DstT", "DT_FLOAT")])


def _gather(node: Node, x: Tensor, indices: Any, axis: int | Sequence[int] | None = 0) -> Any:
    from keras import ops

    return ops.take(x, indices, axis=int(np.asarray(axis)))


def _running(name: str) -> Callable[..., Any]:
    def call(node: Node, x: Tensor, axis: int | Sequence[int] | None) -> Any:
        flags = {key: node.number(key, False) for key in ("exclusive", "reverse")}
        return f.FUNCTIONS[name](x, axis=_list(axis), **flags)

    return call


def _resize(name: str) -> Callable[..., Any]:
    def call(node: Node, x: Tensor, size: Any) -> Any:
        grid = {key: node.number(key, False) for key in ("align_corners", "half_pixel_centers")}
        return f.FUNCTIONS[name](x, _list(size), **grid)

    return call


def _pad(node: Node, x: Tensor, paddings: Any, value: Any = 0) -> Any:
    return f.FUNCTIONS["pad"](x, _list(paddings), constant_values=value)


def _mirror(node: Node, x: Tensor, paddings: Any) -> Any:
    return f.FUNCTIONS["pad"](x, _list(paddings), mode=node.text("mode", "REFLECT"))


_SIMPLE = {
    "Add": "add", "AddV2": "add", "Sub": "subtract", "Mul": "multiply", "RealDiv": "truediv",
    "Div": "truediv", "Maximum": "maximum", "Minimum": "minimum", "Pow": "pow",
    "FloorDiv": "floordiv", "FloorMod": "floormod", "SquaredDifference": "squared_difference",
    "DivNoNan": "divide_no_nan", "Equal": "equal", "NotEqual": "not_equal",
    "Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less",
    "LessEqual": "less_equal", "LogicalAnd": "logical_and", "LogicalOr": "logical_or",
    "LogicalNot": "logical_not", "Abs": "abs", "Exp": "exp", "Expm1": "expm1", "Log": "log",
    "Log1p": "log1p", "Sqrt": "sqrt", "Rsqrt": "rsqrt", "Square": "square", "Neg": "neg",
    "Sign": "sign", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sin": "sin",
    "Cos": "cos", "Tan": "tan", "Tanh": "tanh", "Sigmoid": "sigmoid", "Erf": "erf",
    "Reciprocal": "reciprocal", "Relu": "relu", "Relu6": "relu6", "Elu": "elu",
    "Selu": "selu", "Softplus": "softplus", "Softsign": "softsign", "Softmax": "softmax",
    "LogSoftmax": "log_softmax", "ZerosLike": "zeros_like", "OnesLike": "ones_like",
    "SelectV2": "where", "Select": "where", "Identity": "identity",
    "StopGradient": "identity", "BiasAdd": "bias_add",
}  # fmt: skip
_REDUCTIONS = {
    "Sum": "reduce_sum", "Mean": "reduce_mean", "Max": "reduce_max", "Min": "reduce_min",
    "Prod": "reduce_prod", "All": "reduce_all", "Any": "reduce_any",
}  # fmt: skip
# Function by TensorFlow operation.
OPERATIONS: dict[str, Callable[..., Any]] = {
    **{op: _simple(name) for op, name in _SIMPLE.items()},
    **{op: _reduce(name) for op, name in _REDUCTIONS.items()},
    "LeakyRelu": lambda node, x: f.FUNCTIONS["leaky_relu"](x, alpha=node.number("alpha", 0.2)),
    "ArgMax": lambda node, x, axis: f.FUNCTIONS["argmax"](x, axis=_list(axis)),
    "ArgMin": lambda node, x, axis: f.FUNCTIONS["argmin"](x, axis=_list(axis)),
    "Reshape": lambda node, x, shape: f.FUNCTIONS["reshape"](x, _list(shape)),
    "Transpose": lambda node, x, perm: f.FUNCTIONS["transpose"](x, _list(perm)),
    "ExpandDims": lambda node, x, axis: f.FUNCTIONS["expand_dims"](x, axis=_list(axis)),
    "Squeeze": _squeeze,
    "ConcatV2": lambda node, *xs: f.FUNCTIONS["concat"](list(xs[:-1]), axis=_list(xs[-1])),
    "Pack": lambda node, *xs: f.FUNCTIONS["stack"](list(xs), axis=node.number("axis", 0)),
    "Unpack": lambda node, x: f.FUNCTIONS["unstack"](x, axis=node.number("axis", 0)),
    "Split": lambda node, axis, x: f.FUNCTIONS["split"](
        x, node.number("num_split", 1), axis=_list(axis)
    ),
    "SplitV": lambda node, x, sizes, axis: f.FUNCTIONS["split"](x, _list(sizes), axis=_list(axis)),
    "StridedSlice": _strided,
    "Slice": _slice,
    "Tile": lambda node, x, multiples: f.FUNCTIONS["tile"](x, _list(multiples)),
    "GatherV2": _gather,
    "Gather": _gather,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Cast": _cast,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _mirror,
    "ClipByValue": lambda node, x, low, high: f.FUNCTIONS["clip"](x, low, high),
    "Cumsum": _running("cumsum"),
    "Cumprod": _running("cumprod"),
    "ReverseV2": lambda node, x, axis: f.FUNCTIONS["reverse"](x, axis=_list(axis)),
    "AddN": lambda node, *xs: f.FUNCTIONS["add_n"](list(xs)),
    "Shape": lambda node, x: f.FUNCTIONS["shape"](x),
    "DepthToSpace": lambda node, x: f.FUNCTIONS["depth_to_space"](x, node.number("block_size", 2)),
    "SpaceToDepth": lambda node, x: f.FUNCTIONS["space_to_depth"](x, node.number("block_size", 2)),
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "MaxPool": _pool("max_pool"),
    "AvgPool": _pool("average_pool"),
    "ResizeBilinear": _resize("resize_bilinear"),
    "ResizeNearestNeighbor": _resize("resize_nearest_neighbor"),
}
