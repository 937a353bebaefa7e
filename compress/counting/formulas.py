"""Multiply-accumulates of layers by formula.

Sources:
    Convolution, dense: Molchanov et al., "Pruning convolutional neural networks for resource
    efficient inference" (2017), appendix A.1; separable: Howard et al., "MobileNets" (2017),
    equations 2 to 5; recurrent: one product with each kernel per time step, Hochreiter and
    Schmidhuber (1997), Cho et al. (2014); attention: Vaswani et al. (2017), table 1 and section
    3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import keras
from keras.src.applications.convnext import LayerScale

from edgepress.compress.counting.count import Use
from edgepress.compress.counting.einsum import einsum_macs
from edgepress.compress.graph import Shape

layers = keras.layers
Formula = Callable[[Use], int]
# Cells whose two kernels are all that they multiply with.
CELLS = (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell)


def _product(sizes: Iterable[int | None]) -> int:
    return math.prod(n or 1 for n in sizes)


def _positions(layer: keras.Layer, shape: Shape) -> int:
    """Places that a kernel is applied at: all axes but batch and channels."""
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return _product(shape[2:] if first else shape[1:-1])


def _dense(use: Use) -> int:
    return use.size(use.layer.kernel) * _product(use.outputs[0][1:-1])


def _einsum_dense(use: Use) -> int:
    """Every letter of the equation is one loop; those of the kernel have its axes' lengths."""
    inputs, rest = use.layer.equation.replace(" ", "").split(",")
    kernel = rest.split("->")[0]
    free = [c for c in inputs.replace("...", "") if c not in kernel]
    shape = use.inputs[0]
    named = dict(zip(reversed(inputs.replace("...", "")), reversed(shape), strict=False))
    if "..." in inputs:
        spare = shape[: len(shape) - len(inputs.replace("...", ""))]
        return use.size(use.layer.kernel) * _product(spare[1:]) * _product(named[c] for c in free)
    return use.size(use.layer.kernel) * _product(named[c] for c in free if c != inputs[0])


def _convolution(use: Use) -> int:
    return use.size(use.layer.kernel) * _positions(use.layer, use.outputs[0])


def _transposed(use: Use) -> int:
    return use.size(use.layer.kernel) * _positions(use.layer, use.inputs[0])


def _separable(use: Use) -> int:
    weights = use.size(use.layer.depthwise_kernel) + use.size(use.layer.pointwise_kernel)
    return weights * _positions(use.layer, use.outputs[0])


def cell_size(use: Use, cell: keras.Layer) -> int:
    """Numbers in the kernels of a cell of Keras."""
    found = [getattr(cell, name, None) for name in ("kernel", "recurrent_kernel")]
    return sum(use.size(w) for w in found if w is not None)


def _conv_recurrent(use: Use) -> int:
    axes = len(use.inputs[0]) - 3
    shape = use.outputs[0][-1 - axes :]
    first = use.layer.data_format == "channels_first"
    places = _product(shape[1:] if first else shape[:-1])
    return cell_size(use, use.layer.cell) * places * (use.inputs[0][1] or 1)


def _multi_head(use: Use) -> int:
    """Four projections and two products of activations, at the widths of the projections."""
    layer = use.layer
    query = use.inputs[0]
    value = use.inputs[1] if len(use.inputs) > 1 else query
    asked, given = _product(query[1:-1]), _product(value[1:-1])
    projections = [(layer._query_dense, asked), (layer._output_dense, asked)]
    projections += [(layer._key_dense, given), (layer._value_dense, given)]
    if getattr(layer, "_gate_dense", None) is not None:
        projections.append((layer._gate_dense, asked))
    _, heads, key_width = use.shape(layer._query_dense.kernel)
    value_width = use.shape(layer._output_dense.kernel)[1]
    products = asked * given * heads * (key_width + value_width)
    return sum(use.size(p.kernel) * n for p, n in projections) + products


def _attention(use: Use) -> int:
    query, value = use.inputs[0], use.inputs[1]
    pairs = _product(query[1:-1]) * (value[-2] or 1)
    return pairs * ((query[-1] or 1) + (value[-1] or 1))


def _dot(use: Use) -> int:
    axes = use.layer.axes if isinstance(use.layer.axes, (tuple, list)) else [use.layer.axes]
    return _product(use.outputs[0][1:]) * (use.inputs[0][axes[0]] or 1)


def _matmul(use: Use) -> int:
    return _product(use.outputs[0][1:]) * (use.inputs[0][-1] or 1)


def _einsum(use: Use) -> int:
    shapes = [(1, *(size or 1 for size in shape[1:])) for shape in use.inputs]
    return einsum_macs(use.layer.subscripts, shapes) or 0


def _sum(use: Use) -> int:
    """A sum right behind a product of two tensors is a product of vectors, written out."""
    if use.node is None:
        return 0
    tensor = use.node.input_tensors[0]
    maker = tensor._keras_history.operation
    node = maker._inbound_nodes[tensor._keras_history.node_index]
    factors = {id(t): t for t in node.input_tensors}.values()
    if type(maker).__name__ != "Multiply" or len(factors) < 2:
        return 0
    if any(_product(t.shape[1:]) == 1 for t in factors):
        return 0
    return _product(use.inputs[0][1:])


def _reversible_embedding(use: Use) -> int:
    """A look-up forwards, a product with the whole table backwards."""
    backwards = len(use.inputs[0]) == len(use.outputs[0])
    return use.size(use.layer.embeddings) * _product(use.inputs[0][1:-1]) if backwards else 0


def _nothing(_use: Use) -> int:
    return 0


FORMULAS: dict[type, Formula] = {
    layers.Dense: _dense,
    layers.EinsumDense: _einsum_dense,
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Conv3D: _convolution,
    layers.DepthwiseConv1D: _convolution,
    layers.DepthwiseConv2D: _convolution,
    layers.Conv1DTranspose: _transposed,
    layers.Conv2DTranspose: _transposed,
    layers.Conv3DTranspose: _transposed,
    layers.SeparableConv1D: _separable,
    layers.SeparableConv2D: _separable,
    layers.ConvLSTM1D: _conv_recurrent,
    layers.ConvLSTM2D: _conv_recurrent,
    layers.ConvLSTM3D: _conv_recurrent,
    layers.MultiHeadAttention: _multi_head,
    layers.GroupQueryAttention: _multi_head,
    layers.Attention: _attention,
    layers.AdditiveAttention: _attention,
    layers.Dot: _dot,
    layers.ReversibleEmbedding: _reversible_embedding,
    layers.Embedding: _nothing,
    layers.BatchNormalization: _nothing,
    layers.LayerNormalization: _nothing,
    layers.GroupNormalization: _nothing,
    layers.RMSNormalization: _nothing,
    layers.UnitNormalization: _nothing,
    layers.Normalization: _nothing,
    layers.PReLU: _nothing,
    LayerScale: _nothing,
}
# Operations of keras.ops are known by their names: their classes are not public.
OPERATIONS: dict[str, Formula] = {"Matmul": _matmul, "Einsum": _einsum, "Sum": _sum}
# Those of Keras' operations that make no products, or none that are added up.
_WITHOUT_PRODUCTS = (
    "Absolute Abs Negative Square Sqrt Rsqrt Exp Expm1 Log Log1p Log2 Log10 Sin Cos Tan Tanh "
    "Sinh Cosh Arctan Sign Round Floor Ceil Clip Reciprocal Erf Relu Relu6 Sigmoid "
    "SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus LogSigmoid "
    "LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink "
    "Threshold Cast SaturateCast StopGradient Copy NanToNum Identity IsNan OnesLike ZerosLike "
    "Add Subtract Multiply Divide TrueDivide DivideNoNan FloorDivide Mod Power Maximum "
    "Minimum Arctan2 Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr "
    "LogicalNot Where Mean Max Min Prod Std Var Any All Amax Amin Logsumexp Softmax LogSoftmax "
    "Reshape Transpose Swapaxes Moveaxis ExpandDims Squeeze Flip GetItem Split Concatenate Stack "
    "Unstack Tile Repeat Pad DepthToSpace SpaceToDepth BroadcastTo MaxPool AveragePool Roll Take "
    "TakeAlongAxis Argmax Argmin TopK OneHot Normalize LayerNormalization BatchNormalization "
    "RMSNormalization Outer Ravel Slice"
)
WITHOUT_PRODUCTS = frozenset(_WITHOUT_PRODUCTS.split())
