"""What a model costs: parameters, multiply-accumulates, activation bytes, layer by layer.

A MAC is one multiplication whose product is added to a sum; batch size 1; an unknown axis (a free
image size or number of time steps) counts as 1. Biases, normalisation (which is folded into the
neighbouring kernel for inference), activations, pooling and data movement count 0, as in the
tables of the papers that are quoted here. Attention counts its two products of activations.

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
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.applications.convnext import LayerScale

from edgepress.compress.graph import Call, Shape, graph_of, walk

layers = keras.layers
ShapeOf = Callable[[Any], tuple[int, ...]]


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer, all its uses together.

    Attributes:
        name: Path of the layer: `outer/inner` in a nested model.
        type: Its class.
        params: Numbers in its weights; 0 for a layer whose weights were counted before.
        trainable_params: Those that training changes.
        macs: Multiply-accumulates of one inference at batch 1.
        activation_bytes: Size of what it puts out.
        bytes: Size of its weights.
        trainable: Whether training changes anything of it.
        uses: How often the graph calls it.
        known: False where no formula exists, so that `macs` is 0 for want of knowledge.
    """

    name: str
    type: str
    params: int
    trainable_params: int
    macs: int
    activation_bytes: int
    bytes: int
    trainable: bool
    uses: int = 1
    known: bool = True


@dataclass(frozen=True)
class ModelCost:
    """The cost of a model; the sums of its layers'.

    Attributes:
        params: Numbers in all weights.
        trainable_params: Those that training changes.
        macs: Multiply-accumulates of one inference at batch 1.
        activation_bytes: Sizes of all layers' outputs together.
        bytes: Size of the weights in memory.
        unknown: Layers without a formula, counted as 0 MACs.
    """

    params: int
    trainable_params: int
    macs: int
    activation_bytes: int
    bytes: int
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Use:
    """One call of a layer, as a formula sees it.

    Attributes:
        layer: The layer.
        inputs: Shapes of its inputs, batch first.
        outputs: Shapes of its outputs.
        shape: Gives a weight's shape: as it is, or as a plan will leave it.
    """

    layer: Any
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    shape: ShapeOf

    def size(self, weight: Any) -> int:
        """Numbers in a weight."""
        return math.prod(self.shape(weight))


Formula = Callable[[Use], int]


def _product(sizes: Iterable[int | None]) -> int:
    return math.prod(n or 1 for n in sizes)


def _positions(layer: Any, shape: Shape) -> int:
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


def _cell_size(use: Use, cell: Any) -> int:
    inner = getattr(cell, "cells", None)
    if inner is not None:
        return sum(_cell_size(use, c) for c in inner)
    found = [getattr(cell, name, None) for name in ("kernel", "recurrent_kernel")]
    return sum(use.size(w) for w in found if w is not None)


def _recurrent(use: Use) -> int:
    return _cell_size(use, use.layer.cell) * (use.inputs[0][1] or 1)


def _conv_recurrent(use: Use) -> int:
    axes = len(use.inputs[0]) - 3
    shape = use.outputs[0][-1 - axes :]
    first = use.layer.data_format == "channels_first"
    places = _product(shape[1:] if first else shape[:-1])
    return _cell_size(use, use.layer.cell) * places * (use.inputs[0][1] or 1)


def _bidirectional(use: Use) -> int:
    return _macs_of(use.layer.forward_layer, use) + _macs_of(use.layer.backward_layer, use)


def _time_distributed(use: Use) -> int:
    steps = use.inputs[0][1] or 1
    inputs = tuple((s[0], *s[2:]) for s in use.inputs)
    outputs = tuple((s[0], *s[2:]) for s in use.outputs)
    inner = use.layer.layer
    if graph_of(inner) is not None:
        calls = [c for c in walk(inner, shapes=inputs) if _formula(c.operation)]
        return steps * sum(call_macs(c, use.shape) for c in calls)
    return steps * _macs_of(inner, Use(inner, inputs, outputs, use.shape))


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
    layers.SimpleRNN: _recurrent,
    layers.LSTM: _recurrent,
    layers.GRU: _recurrent,
    layers.ConvLSTM1D: _conv_recurrent,
    layers.ConvLSTM2D: _conv_recurrent,
    layers.ConvLSTM3D: _conv_recurrent,
    layers.RNN: _recurrent,
    layers.Bidirectional: _bidirectional,
    layers.TimeDistributed: _time_distributed,
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
OPERATIONS: dict[str, Formula] = {"Matmul": _matmul}


def _formula(operation: Any) -> Formula | None:
    if not isinstance(operation, keras.Layer):
        return OPERATIONS.get(type(operation).__name__, _nothing)
    found = next((FORMULAS[c] for c in type(operation).__mro__ if c in FORMULAS), None)
    if found is None and type(operation).__module__.startswith("keras."):
        return None if operation.weights else _nothing
    return found


def _macs_of(layer: Any, use: Use) -> int:
    formula = _formula(layer)
    return formula(Use(layer, use.inputs, use.outputs, use.shape)) if formula else 0


def own_shape(weight: Any) -> tuple[int, ...]:
    """A weight's shape as it is."""
    return tuple(weight.shape)


def call_macs(call: Call, shape: ShapeOf = own_shape) -> int:
    """Multiply-accumulates of one call.

    Args:
        call: The call.
        shape: Gives the weights' shapes; by default as they are.

    Returns:
        The MACs at batch 1; 0 where no formula exists.
    """
    formula = _formula(call.operation)
    return formula(Use(call.operation, call.inputs, call.outputs, shape)) if formula else 0


def layer_costs(model: Any) -> tuple[LayerCost, ...]:
    """The cost of each layer of a model.

    Args:
        model: A built Keras model. One without a graph of layers is listed by its layers, with
            their parameters and no MACs.

    Returns:
        One entry for each layer (and each operation that multiplies) in topological order. The
        parameters of a shared layer are counted once, its MACs for each use.
    """
    if graph_of(model) is None:
        return tuple(_of_layer(layer.name, layer, set(), known=False) for layer in model.layers)
    counted: set[int] = set()
    found: dict[int, LayerCost] = {}
    for call in walk(model):
        macs, out = call_macs(call), sum(_product(s[1:]) for s in call.outputs)
        if not isinstance(call.operation, keras.Layer) and not macs:
            continue
        before = found.get(id(call.operation))
        if before is None:
            known = _formula(call.operation) is not None
            before = _of_layer(call.path, call.operation, counted, known)
        found[id(call.operation)] = _one_more(before, macs, out * _item_bytes(call.operation))
    return tuple(found.values())


def _one_more(cost: LayerCost, macs: int, activation_bytes: int) -> LayerCost:
    return LayerCost(
        **{
            **vars(cost),
            "macs": cost.macs + macs,
            "activation_bytes": cost.activation_bytes + activation_bytes,
            "uses": cost.uses + 1,
        }
    )


def _of_layer(path: str, layer: Any, counted: set[int], known: bool) -> LayerCost:
    own = [w for w in getattr(layer, "weights", ()) if id(w) not in counted]
    counted.update(map(id, own))
    sizes = {id(w): math.prod(w.shape) for w in own}
    trained = {id(w) for w in getattr(layer, "trainable_weights", ())}
    trainable = sum(n for key, n in sizes.items() if key in trained)
    return LayerCost(
        name=path,
        type=type(layer).__name__,
        params=sum(sizes.values()),
        trainable_params=trainable,
        macs=0,
        activation_bytes=0,
        bytes=sum(sizes[id(w)] * _bytes_of(w.dtype) for w in own),
        trainable=bool(trained),
        uses=0,
        known=known,
    )


def _item_bytes(operation: Any) -> int:
    return _bytes_of(getattr(operation, "compute_dtype", None) or "float32")


def _bytes_of(dtype: Any) -> int:
    """Bytes of one number: the digits at the end of the type's name are its bits."""
    digits = "".join(c for c in str(dtype) if c.isdigit())
    return max(1, int(digits) // 8) if digits else 1


def model_cost(model: Any) -> ModelCost:
    """The cost of a whole model.

    Args:
        model: A built Keras model.

    Returns:
        The sums over its layers.
    """
    costs = layer_costs(model)
    sizes = {id(w): math.prod(w.shape) for w in model.weights}
    return ModelCost(
        params=sum(sizes.values()),
        trainable_params=sum(sizes[id(w)] for w in model.trainable_weights),
        macs=sum(c.macs for c in costs),
        activation_bytes=sum(c.activation_bytes for c in costs),
        bytes=sum(sizes[id(w)] * _bytes_of(w.dtype) for w in model.weights),
        unknown=tuple(c.name for c in costs if not c.known),
    )
