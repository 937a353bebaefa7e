"""The sizes of a Keras layer's kernels, and the axes of them that channels run along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from edgepress.compress.graph import Call
from edgepress.compress.structure.budgets.layer_size import Kind, LayerSize

layers = keras.layers


@dataclass(frozen=True, eq=False)
class Sized:
    """The sizes of one kernel and the axes of it that channels run along.

    Attributes:
        weight: The kernel.
        size: Sizes with all channels.
        input_axis: Axis of the kernel along which inputs run.
        output_axis: Axis of outputs; None for a depthwise kernel, whose outputs follow its inputs.
    """

    weight: Any
    size: LayerSize
    input_axis: int
    output_axis: int | None


def sized(call: Call) -> tuple[Sized, ...]:
    """The kernels of one call with their sizes; none where the layer is of another kind."""
    layer = call.operation
    if isinstance(layer, layers.Dense):
        return (_dense(layer, call),)
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        return _separable(layer, call)
    if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        return (_depthwise(layer, layer.kernel, call.inputs[0]),)
    if isinstance(layer, layers.Conv1D | layers.Conv2D) and layer.groups == 1:
        return (_convolution(layer, layer.kernel, call.inputs[0]),)
    return ()


def _dense(layer: keras.Layer, call: Call) -> Sized:
    rows = math.prod(size or 1 for size in call.inputs[0][1:-1])
    inputs, outputs = layer.kernel.shape
    size = LayerSize("dense", (1, rows), (1, 1), (1, 1), (1, 1), False, inputs, outputs)
    return Sized(layer.kernel, size, 0, 1)


def _convolution(layer: keras.Layer, kernel: keras.Variable, shape: Sequence[int | None]) -> Sized:
    return Sized(kernel, _size("conv", layer, kernel, shape), kernel.ndim - 2, kernel.ndim - 1)


def _depthwise(layer: keras.Layer, kernel: keras.Variable, shape: Sequence[int | None]) -> Sized:
    return Sized(kernel, _size("depthwise", layer, kernel, shape), kernel.ndim - 2, None)


def _separable(layer: keras.Layer, call: Call) -> tuple[Sized, ...]:
    first = _depthwise(layer, layer.depthwise_kernel, call.inputs[0])
    kernel = layer.pointwise_kernel
    area = _plane(_places(layer, call.outputs[0]))
    inputs, outputs = kernel.shape[-2:]
    size = LayerSize("conv", area, (1, 1), (1, 1), (1, 1), False, inputs, outputs)
    return first, Sized(kernel, size, kernel.ndim - 2, kernel.ndim - 1)


def _size(
    kind: Kind, layer: keras.Layer, kernel: keras.Variable, shape: Sequence[int | None]
) -> LayerSize:
    return LayerSize(
        kind,
        _plane(_places(layer, shape)),
        _plane(kernel.shape[:-2]),
        _plane(layer.strides),
        _plane(layer.dilation_rate),
        layer.padding in ("same", "causal"),
        kernel.shape[-2],
        kernel.shape[-1],
    )


def _places(layer: keras.Layer, shape: Sequence[int | None]) -> tuple[int, ...]:
    """Sizes of a tensor without batch and channels; an unknown one counts as 1."""
    inner = shape[2:] if layer.data_format == "channels_first" else shape[1:-1]
    return tuple(size or 1 for size in inner)


def _plane(sizes: Sequence[int]) -> tuple[int, int]:
    """One or two sizes as (height, width)."""
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
