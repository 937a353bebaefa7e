"""How many numbers a layer's weights stand for, packed and rounded kernels included."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgepress.compress.variables import shape_of

if TYPE_CHECKING:
    import keras

# What Keras's `quantize` puts beside a kernel: part of how it is stored, not of the network.
_STORAGE = frozenset({
    "awq_scales", "embeddings_scale", "embeddings_zero", "g_idx", "inputs_amax_history",
    "inputs_scale", "kernel_amax_history", "kernel_scale", "kernel_zero",
    "outputs_grad_amax_history", "outputs_grad_scale", "reverse_embeddings_scale",
    "reverse_embeddings_zero",
})  # fmt: skip
_KERNELS = ("kernel", "embeddings", "reverse_embeddings")


def weight_sizes(layer: keras.Layer) -> dict[int, int]:
    """Numbers in each weight of a layer or model, by the weight's id.

    Two numbers of 4 bits that share a byte are two, and scales are none: a network has as many
    parameters after Keras's `quantize` as before.

    Args:
        layer: A built layer or model.
    """
    sizes = {id(w): math.prod(shape_of(w)) for w in getattr(layer, "weights", ())}
    parts = layer._flatten_layers() if hasattr(layer, "_flatten_layers") else ()
    for part in parts:
        if getattr(part, "quantization_mode", None):
            sizes |= _of_rounded(part)
    return sizes


def _of_rounded(layer: keras.Layer) -> dict[int, int]:
    sizes: dict[int, int] = {}
    seen: set[str] = set()
    for weight in (*layer._trainable_variables, *layer._non_trainable_variables):
        if weight.name in _STORAGE or weight.name in seen:  # before calibration there are two
            sizes[id(weight)] = 0
        elif weight.name in _KERNELS:
            seen.add(weight.name)
            sizes[id(weight)] = _unpacked(layer)
    return sizes


def _unpacked(layer: keras.Layer) -> int:
    """Numbers in a layer's kernel, or in an embedding's table."""
    if hasattr(layer, "input_dim"):
        return int(layer.input_dim * layer.output_dim)
    shape = getattr(layer, "original_kernel_shape", None)
    if shape is None and hasattr(layer, "units"):
        shape = (layer.input_spec.axes[-1], layer.units)
    return math.prod(layer._kernel.shape if shape is None else shape)


def count_params(model: keras.Model) -> int:
    """Numbers in a model's weights; see `weight_sizes`."""
    return sum(weight_sizes(model).values())
