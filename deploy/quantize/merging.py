"""Parallel linear branches as one layer, which is how RepVGG and MobileOne are deployed.

The sum of convolutions of one tensor is a convolution by the sum of their kernels, the smaller ones
padded with zeros; the tensor itself, or a normalisation of it, is one whose kernel is a diagonal.
Converters fold normalisations into the layer before, but compute each branch and add them up.

Source: Ding et al., RepVGG: Making VGG-style ConvNets Great Again, 2021, section 3.3; Vasu et al.,
MobileOne, 2023, section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.graph import graph_of, nodes_of, require_graph
from edgepress.compress.models.rebuilding.inline_submodels import unnested
from edgepress.compress.models.rebuilding.replacing import producers, readers, rewrite
from edgepress.deploy.quantize.folding import fold_batch_norms, normalisation

if TYPE_CHECKING:
    import keras

Floats: TypeAlias = NDArray[np.float64]

_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D", "Conv3D"})
_DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
_KINDS = _CONVOLUTIONS | _DEPTHWISE | {"Dense"}


@dataclass(frozen=True)
class _Branch:
    """A linear function of a tensor that is added to others.

    Attributes:
        place: Which of the summands it is.
        source: The tensor that it reads.
        layer: A layer with a kernel, a normalisation, or None for the tensor itself.
    """

    place: int
    source: keras.KerasTensor
    layer: keras.Layer | None

    @property
    def has_kernel(self) -> bool:
        """Whether its layer multiplies by a kernel."""
        return type(self.layer).__name__ in _KINDS


@dataclass(frozen=True)
class _Merge:
    """Branches of a sum that become part of one of them, a layer with a kernel."""

    total: keras.Operation
    layer: keras.Layer
    others: tuple[_Branch, ...]
    weights: tuple[Floats, Floats]


def merge_branches(model: keras.Model) -> keras.Model:
    """A model of the same function in which parallel linear branches are one layer.

    Args:
        model: A Keras model; of one without a graph nothing is known.

    Returns:
        A new model, whose layers keep their names, or the given one where nothing is merged.
    """
    if graph_of(model) is None or not _has_branches(model):
        return model
    try:
        found = unnested(model)
        merged = False
        while merges := _merges(found := fold_batch_norms(found)):
            found, merged = _merged(found, merges), True
    except InputError:  # a layer that can't be built again stays as it is
        return model
    names = _ends(model)
    if not merged or len(set(names)) < len(names):
        return model
    return _with_ends(found, names)


def _ends(model: keras.Model) -> list[str]:
    """The operations that give a model's outputs, which the outputs are named after."""
    return [tensor._keras_history.operation.name for tensor in model.outputs]


def _with_ends(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """A model whose outputs are named as they were."""
    import keras

    if _ends(model) == list(names):
        return model
    graph = require_graph(model)
    outputs = [
        tensor if own == name else keras.layers.Identity(name=name)(tensor)
        for tensor, own, name in zip(model.outputs, _ends(model), names, strict=True)
    ]
    given = keras.tree.pack_sequence_as(graph._inputs_struct, model.inputs)
    results = keras.tree.pack_sequence_as(graph._outputs_struct, outputs)
    return keras.Model(given, results, name=model.name)


def _has_branches(model: keras.Model) -> bool:
    """Whether a sum anywhere in a model has two summands that may be merged."""
    import keras

    graph = graph_of(model)
    if graph is None:
        return False
    for node in nodes_of(graph):
        if isinstance(node.operation, keras.Model) and _has_branches(node.operation):
            return True
        if type(node.operation).__name__ == "Add":
            sources = [id(_origin(tensor)) for tensor in node.input_tensors]
            if len(set(sources)) < len(sources):
                return True
    return False


def _origin(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """What a chain of linear layers begins with."""
    while True:
        operation, place, _ = tensor._keras_history
        if type(operation).__name__ not in _KINDS | {"Add", "BatchNormalization"}:
            return tensor
        tensor = operation._inbound_nodes[place].input_tensors[0]


def _merges(model: keras.Model) -> list[_Merge]:
    """What can be merged at once, sum by sum."""
    graph = graph_of(model)
    made_by, read_by = producers(model), readers(model)
    nodes = [] if graph is None else nodes_of(graph)
    # An operation that is no layer is called in other models, too.
    calls = Counter(node.operation.name for node in nodes)
    found = []
    for node in nodes:
        total = node.operation
        once = calls[total.name] == 1
        if type(total).__name__ != "Add" or not once or len(node.input_tensors) < 2:
            continue
        shape = node.output_tensors[0].shape
        branches = [
            _branch(place, tensor, made_by[id(tensor)], read_by)
            for place, tensor in enumerate(node.input_tensors)
            if tensor.shape == shape
        ]
        merge = _merge_of(total, branches)
        if merge is not None:
            found.append(merge)
    return found


def _branch(
    place: int,
    tensor: keras.KerasTensor,
    layer: keras.Operation,
    read_by: dict[str, list[keras.Operation | None]],
) -> _Branch:
    """A summand as a function of what its layer reads, or as itself."""
    kind = type(layer).__name__
    alone = len(layer._inbound_nodes) == 1 and len(read_by[layer.name]) == 1
    norm = kind == "BatchNormalization" and layer.axis in (-1, len(tensor.shape) - 1)
    if alone and (norm or _is_linear(layer)):
        return _Branch(place, layer.input, layer)
    return _Branch(place, tensor, None)


def _is_linear(layer: keras.Operation) -> bool:
    """Whether a layer only multiplies by a kernel of floats, channels last, and adds a bias."""
    return (
        type(layer).__name__ in _KINDS
        and layer.activation.__name__ == "linear"
        and layer.compute_dtype == layer.variable_dtype == "float32"
        and layer.quantization_mode is None
        and not getattr(layer, "lora_enabled", False)
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _merge_of(total: keras.Operation, branches: Sequence[_Branch]) -> _Merge | None:
    """The branches of a sum that become one, or None if there aren't two."""
    with_kernels = [(b.layer, b) for b in branches if b.layer is not None and b.has_kernel]
    for layer, base in sorted(with_kernels, key=lambda pair: -pair[0].kernel.shape[0]):
        others, (kernel, bias) = [], _weights_of(layer)
        for branch in branches:
            if branch is base or branch.source is not base.source:
                continue
            added = _as_part_of(layer, branch)
            if added is not None:
                others.append(branch)
                kernel, bias = kernel + added[0], bias + added[1]
        if others:
            return _Merge(total, layer, tuple(others), (kernel, bias))
    return None


def _as_part_of(layer: keras.Layer, branch: _Branch) -> tuple[Floats, Floats] | None:
    """The kernel and bias that a branch adds to those of a layer; None where they don't fit."""
    if branch.layer is not None and branch.has_kernel:
        if not _is_alike(layer, branch.layer):
            return None
        kernel, bias = _weights_of(branch.layer)
        placed = _placed(layer, kernel, getattr(branch.layer, "dilation_rate", ()))
        return None if placed is None else (placed, bias)
    if any(stride != 1 for stride in getattr(layer, "strides", ())):
        return None
    channels = branch.source.shape[-1]
    scale, shift = np.ones(channels), np.zeros(channels)
    if branch.layer is not None:
        scale, shift = normalisation(branch.layer)
    diagonal = _diagonal(layer, scale)
    placed = None if diagonal is None else _placed(layer, diagonal, None)
    return None if placed is None else (placed, shift)


def _is_alike(layer: keras.Layer, other: keras.Layer) -> bool:
    """Whether two layers differ in kernel sizes, weights and names alone."""
    names = ("groups", "strides", "padding", "depth_multiplier")
    same = all(getattr(layer, n, None) == getattr(other, n, None) for n in names)
    return type(layer) is type(other) and same


def _weights_of(layer: keras.Layer) -> tuple[Floats, Floats]:
    """Kernel and bias in 64 bits; zeros where there is no bias."""
    values = [np.asarray(value, np.float64) for value in layer.get_weights()]
    return values[0], values[1] if layer.use_bias else np.zeros(layer.output.shape[-1])


def _diagonal(layer: keras.Layer, scale: Floats) -> Floats | None:
    """The kernel of one place by which a layer would scale each channel; None if it can't."""
    kernel = layer.kernel.shape
    rows, columns = kernel[-2:]
    places = (1,) * (len(kernel) - 2)
    if type(layer).__name__ in _DEPTHWISE:
        return scale.reshape(*places, rows, 1) if columns == 1 else None
    if len(scale) != columns:
        return None
    found = np.zeros((rows, columns))
    found[np.arange(columns) % rows, np.arange(columns)] = scale
    return found.reshape(*places, rows, columns)


def _placed(
    layer: keras.Layer, kernel: Floats, dilation_rate: Sequence[int] | None
) -> Floats | None:
    """A kernel where it reads what it read, within the larger one of another layer.

    Args:
        layer: The layer of the larger kernel.
        kernel: The kernel.
        dilation_rate: Of the kernel's own layer; None for that of the other.
    """
    if type(layer).__name__ == "Dense":
        return kernel
    if layer.padding == "valid" and kernel.shape[:-2] != layer.kernel.shape[:-2]:
        return None
    widths = []
    for axis, (size, small) in enumerate(zip(layer.kernel.shape[:-2], kernel.shape, strict=False)):
        dilation = layer.dilation_rate[axis]
        own = dilation if small == 1 or dilation_rate is None else dilation_rate[axis]
        large_before = _padded_before(layer, axis, size, dilation)
        small_before = _padded_before(layer, axis, small, own)
        if large_before is None or small_before is None or own != dilation:
            return None
        before, rest = divmod(large_before - small_before, dilation)
        after = size - small - before
        if rest or before < 0 or after < 0:
            return None
        widths.append((before, after))
    return np.pad(kernel, [*widths, (0, 0), (0, 0)])


def _padded_before(layer: keras.Layer, axis: int, size: int, dilation: int) -> int | None:
    """Zeros that a kernel's padding puts before an axis; None where a free size decides."""
    steps, stride = layer.input.shape[1 + axis], layer.strides[axis]
    reach = (size - 1) * dilation
    if layer.padding == "valid":
        return 0
    if layer.padding == "causal":
        return reach
    if stride == 1:
        return reach // 2
    if steps is None:
        return None
    return max((-(-steps // stride) - 1) * stride + reach + 1 - steps, 0) // 2


def _merged(model: keras.Model, merges: Sequence[_Merge]) -> keras.Model:
    """A model in which one of the branches stands for all that are merged."""
    swaps: dict[str, list[object]] = {}
    for merge in merges:
        layer = merge.layer
        swaps[layer.name] = [type(layer).from_config({**layer.get_config(), "use_bias": True})]
        swaps |= {branch.layer.name: [] for branch in merge.others if branch.layer is not None}
        swaps[merge.total.name] = [_Rest({b.place for b in merge.others})]
    small = rewrite(model, swaps)
    for merge in merges:
        weights = [value.astype(np.float32) for value in merge.weights]
        small.get_layer(merge.layer.name).set_weights(weights)
    return small


class _Rest:
    """A sum without some of its summands."""

    def __init__(self, left_out: set[int]) -> None:
        self.left_out = left_out

    def __call__(self, *arguments: keras.KerasTensor) -> keras.KerasTensor:
        import keras

        summands = [
            tensor
            for place, tensor in enumerate(keras.tree.flatten(arguments))
            if place not in self.left_out
        ]
        return summands[0] if len(summands) == 1 else keras.layers.Add()(summands)
