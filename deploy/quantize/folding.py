"""Batch normalisation folded into the layer before it, as converters do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.models.rebuilding.inline_submodels import unnested
from edgepress.compress.models.rebuilding.replacing import producers, readers, rewrite

if TYPE_CHECKING:
    import keras

# Layers with a kernel → the axis of the kernel that counts outputs.
_OUTPUT_AXIS = {"Conv1D": -1, "Conv2D": -1, "Conv3D": -1, "Dense": -1, "Conv2DTranspose": 2}


def folded(model: keras.Model) -> keras.Model:
    """A model of the same function in the layers that int8 has.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model: one graph, separable convolutions in halves, dense layers of each step as plain
        ones, normalisations folded.

    Raises:
        InputError: The model has no graph.
    """
    return fold_batch_norms(split_separable(_with_plain_dense(unnested(model))))


def _with_plain_dense(model: keras.Model) -> keras.Model:
    """A model of the same function in which what multiplies the last axis is a dense layer."""

    found = {layer.name: twin for layer in model.layers if (twin := _plain_dense(layer))}
    if not found:
        return model
    small = rewrite(model, {name: [_inputs_alone, twin] for name, (twin, _) in found.items()})
    for name, (_, values) in found.items():
        small.get_layer(name).set_weights(values)
    return small


def _inputs_alone(inputs: keras.KerasTensor, **_options: object) -> keras.KerasTensor:
    """What a layer is called with, without the mask that a wrapper takes."""
    return inputs


def _plain_dense(layer: keras.Layer) -> tuple[keras.Layer, list[NDArray[Any]]] | None:
    """A dense layer that does the same as one for each step, or as an einsum; and its weights."""
    import keras

    of_steps = type(layer) is keras.layers.TimeDistributed
    if of_steps and type(layer.layer) is keras.layers.Dense:
        config = {**layer.layer.get_config(), "name": layer.name}
        return keras.layers.Dense.from_config(config), layer.get_weights()
    if type(layer) is not keras.layers.EinsumDense:
        return None
    given, kernel, result = re.split(",|->", layer.equation)
    if len(kernel) != 2 or given[:-1] != result[:-1] or kernel != given[-1] + result[-1]:
        return None
    if layer.bias_axes not in (None, result[-1]):
        return None
    plain = keras.layers.Dense(
        layer.kernel.shape[-1],
        activation=layer.activation,
        use_bias=layer.bias_axes is not None,
        name=layer.name,
    )
    return plain, layer.get_weights()


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """A model of the same function without the batch normalisations that can be folded.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model: kernels scaled by gamma / sqrt(variance + epsilon), biases shifted. Layers
        keep their names. A normalisation stays where it follows something else than a linear
        layer, or where that layer is read elsewhere too.
    """
    import keras

    made_by, read_by = producers(model), readers(model)
    before: Any
    swaps: dict[str, list[Any]] = {}
    weights: dict[str, list[NDArray[Any]]] = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = made_by.get(id(layer._inbound_nodes[0].input_tensors[0]))
        if _can_fold(before, layer, read_by):
            config = {**before.get_config(), "use_bias": True}
            swaps[before.name] = [type(before).from_config(config)]
            swaps[layer.name] = []
            weights[before.name] = _folded(before, layer)
    small = rewrite(model, swaps)
    for name, values in weights.items():
        small.get_layer(name).set_weights(values)
    return small


def split_separable(model: keras.Model) -> keras.Model:
    """A model of the same function whose separable convolutions are two layers each.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model, or the given one where there is nothing to split: a depthwise convolution
        `NAME_depthwise` and a 1x1 convolution that keeps the name.
    """
    import keras

    found = [x for x in model.layers if isinstance(x, keras.layers.SeparableConv2D)]
    if not found:
        return model
    small = rewrite(model, {layer.name: _halves(layer) for layer in found})
    for layer in found:
        depthwise, pointwise, *bias = layer.get_weights()
        small.get_layer(f"{layer.name}_depthwise").set_weights([depthwise])
        small.get_layer(layer.name).set_weights([pointwise, *bias])
    return small


def _halves(layer: keras.Layer) -> list[keras.Layer]:
    import keras

    depthwise = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        name=f"{layer.name}_depthwise",
    )
    pointwise = keras.layers.Conv2D(
        layer.filters,
        1,
        data_format=layer.data_format,
        activation=layer.activation,
        use_bias=layer.use_bias,
        name=layer.name,
    )
    return [depthwise, pointwise]


def _can_fold(
    before: keras.Operation,
    norm: keras.layers.BatchNormalization,
    read_by: dict[str, list[keras.Operation | None]],
) -> bool:
    kind = type(before).__name__
    return (
        (kind in _OUTPUT_AXIS or kind == "DepthwiseConv2D")
        and before.activation.__name__ == "linear"
        and len(before._inbound_nodes) == 1
        and len(norm._inbound_nodes) == 1
        and read_by[before.name] == [norm]
        and norm.axis in (-1, len(before.output.shape) - 1)
    )


def _folded(layer: keras.Layer, norm: keras.layers.BatchNormalization) -> list[NDArray[Any]]:
    kernel, bias = layer.get_weights()[0], 0.0
    if layer.use_bias:
        bias = layer.get_weights()[1]
    scale, shift = normalisation(norm)
    if type(layer).__name__ == "DepthwiseConv2D":
        factor = scale.reshape(kernel.shape[-2:])
    else:
        sizes = [1] * kernel.ndim
        sizes[_OUTPUT_AXIS[type(layer).__name__]] = -1
        factor = scale.reshape(sizes)
    folded = [kernel * factor, bias * scale + shift]
    return [array.astype(kernel.dtype) for array in folded]


def normalisation(norm: keras.layers.BatchNormalization) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a batch normalisation multiplies each channel by, and what it adds then, in 64 bits."""
    mean, variance = (np.asarray(v, np.float64) for v in (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, np.float64)
    return scale, (np.asarray(norm.beta, np.float64) if norm.center else 0.0) - mean * scale
