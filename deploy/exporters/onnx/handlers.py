"""Operators that tf2onnx leaves as they are or converts wrongly, by what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tf2onnx.graph import Graph
    from tf2onnx.graph import Node as GraphNode


def _complementary_error_function(
    context: Graph, node: GraphNode, name: str, args: object
) -> GraphNode:
    """1 - Erf."""
    del name, args
    node.type = "Erf"
    return _followed(context, node, "Sub", lambda erf, one: [one, erf])


def _exponential_less_one(context: Graph, node: GraphNode, name: str, args: object) -> GraphNode:
    """Exp - 1."""
    del name, args
    node.type = "Exp"
    return _followed(context, node, "Sub", lambda power, one: [power, one])


def _logarithm_of_one_more(context: Graph, node: GraphNode, name: str, args: object) -> GraphNode:
    """Log of the sum."""
    from tf2onnx import utils

    del name, args
    node.type = "Log"
    inputs = [node.input[0], _one(context, node)]
    return context.insert_new_node_on_input(node, "Add", inputs, name=utils.make_name("plus_one"))


def _followed(
    context: Graph, node: GraphNode, kind: str, order: Callable[[str, str], Sequence[str]]
) -> GraphNode:
    """The node with another behind it, which reads its output and the number one."""
    from tf2onnx import utils

    output = node.output[0]
    behind = context.insert_new_node_on_output(kind, output, name=utils.make_name(kind))
    context.replace_inputs(behind, list(order(output, _one(context, node))))
    return node


def _one(context: Graph, node: GraphNode) -> str:
    """The number one in the type of a node's output."""
    from tf2onnx import utils

    kind = utils.map_onnx_to_numpy_type(context.get_dtype(node.output[0]))
    constant = context.make_const(utils.make_name("one"), np.array(1, kind))
    return str(constant.output[0])


def _recurrent(context: Graph, node: GraphNode, name: str, args: object) -> None:
    """GRU or RNN, whose weights `lowerings.recurrent.as_one_operator` put into ONNX's order."""
    from tf2onnx import utils
    from tf2onnx.graph_builder import GraphBuilder

    del name, args
    steps, state = node.input[:2]
    flat = node.inputs[3].get_tensor_value(as_list=False)
    gru = node.attr["rnn_mode"].s == b"gru"
    features, units = context.get_shape(steps)[-1], context.get_shape(state)[-1]
    rows = (3 if gru else 1) * units
    shapes = (
        ("kernel", (1, rows, features)),
        ("recurrent", (1, rows, units)),
        ("bias", (1, 2 * rows)),
    )
    weights, begin = [], 0
    for part, shape in shapes:
        size = int(np.prod(shape))
        value = flat[begin : begin + size].reshape(shape)
        weights.append(context.make_const(utils.make_name(part), value).output[0])
        begin += size
    attributes: dict[str, Any] = {"hidden_size": units}
    if gru:
        attributes["linear_before_reset"] = node.attr["seed"].i
    elif node.attr["rnn_mode"].s == b"rnn_relu":
        attributes["activations"] = ["Relu"]
    made = context.make_node(
        "GRU" if gru else "RNN", [steps, *weights, "", state], attr=attributes, output_count=2
    )
    builder, (every, last) = GraphBuilder(context), node.output[:2]
    context.remove_node(node.name)
    builder.make_squeeze({"data": made.output[0], "axes": [1], "outputs": [every]})
    context.make_node("Identity", [made.output[1]], outputs=[last])


def _resized(context: Graph, node: GraphNode, name: str, args: object) -> None:
    """Resize by the next factor where one that is rounded to 32 bits would give a pixel less.

    Resizing by sizes says it without factors, but ONNX Runtime loses the sizes of two axes beside
    8 bits. And the nearest pixel is TensorFlow's: tf2onnx rounds its middle down.
    """
    from tf2onnx import utils
    from tf2onnx.onnx_opset.nn import Resize

    del name, args
    shape = context.get_shape(node.input[0]) or []
    output, sizes = node.output[0], None
    if node.inputs[1].is_const() and len(shape) == 4 and -1 not in shape[1:3]:
        sizes = node.inputs[1].get_tensor_value(as_list=False).astype(np.int64)
    centred = node.type == "ResizeNearestNeighbor" and node.get_attr_value("half_pixel_centers")
    Resize.version_11(context, node)
    resize = context.get_node_by_output(output).inputs[0]
    if centred:
        resize.set_attr("coordinate_transformation_mode", "half_pixel")
        resize.set_attr("nearest_mode", "round_prefer_ceil")
    if sizes is None:
        return
    factors = [1.0, 1.0, *map(_reaching, shape[1:3], sizes)]
    scales = context.make_const(utils.make_name("scales"), np.array(factors, np.float32)).output[0]
    context.replace_inputs(resize, [*resize.input[:2], scales])


def _reaching(old: int, new: int) -> Any:
    """The 32-bit factor whose product with the old size, rounded down as ONNX says, is the new."""
    factor = np.float32(new / old)
    return factor if int(old * float(factor)) == new else np.nextafter(factor, np.float32(np.inf))


HANDLERS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "CudnnRNN": (_recurrent, []),
    "Erfc": (_complementary_error_function, []),  # of the exact GELU
    "Expm1": (_exponential_less_one, []),
    "Log1p": (_logarithm_of_one_more, []),
    "ResizeBicubic": (_resized, []),
    "ResizeBilinear": (_resized, []),
    "ResizeNearestNeighbor": (_resized, []),
}
