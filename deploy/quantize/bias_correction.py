"""Bias correction: rounding a kernel shifts the mean of what it gives; the bias takes that back.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
section 4.2, with the expectation taken over calibration samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.models.rebuilding.replacing import rewrite
from edgepress.deploy.quantize.equalization import KERNELS, watched
from edgepress.deploy.quantize.folding import folded

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]


def bias_corrected(model: keras.Model, inputs: Sequence[Array]) -> keras.Model | None:
    """A model whose biases make up for the rounding of its kernels to int8.

    Args:
        model: A functional or Sequential Keras model.
        inputs: Calibration samples for each input, (n, …).

    Returns:
        A new model, its normalisations folded, or None where no layer has a kernel that int8
        rounds.

    Raises:
        InputError: The model has no graph.
    """
    small = _with_biases(folded(model))
    layers = [x for x in small.layers if _rounded(x)]
    if not layers:
        return None
    for layer, shift in zip(layers, _mean_errors(small, layers, inputs), strict=True):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias - shift])
    return small


def _rounded(layer: keras.Layer) -> bool:
    return type(layer).__name__ in KERNELS and len(layer._inbound_nodes) == 1


def _with_biases(model: keras.Model) -> keras.Model:
    """The model with a bias in every layer whose kernel is rounded."""
    bare = [x for x in model.layers if _rounded(x) and not x.use_bias]
    made = {x.name: [type(x).from_config({**x.get_config(), "use_bias": True})] for x in bare}
    small = rewrite(model, made)
    for layer in bare:
        fresh = small.get_layer(layer.name)
        fresh.set_weights([layer.get_weights()[0], np.zeros(fresh.bias.shape, "float32")])
    return small


def _mean_errors(
    model: keras.Model, layers: Sequence[keras.Layer], inputs: Sequence[Array]
) -> list[Array]:
    """What rounding adds to the mean of each layer's output channels, before the activation."""
    errors = [_error_of(layer) for layer in layers]
    sums = [np.zeros(layer.bias.shape, np.float64) for layer in layers]
    for read in watched(model, [layer.input for layer in layers], inputs):
        for total, error, values in zip(sums, errors, read, strict=True):
            output = np.asarray(error(values), np.float64)
            channels = np.moveaxis(output, _channel_axis(error), -1)
            total += channels.reshape(-1, channels.shape[-1]).mean(0) * len(values)
    return [(total / len(inputs[0])).astype(np.float32) for total in sums]


def _channel_axis(layer: keras.Layer) -> int:
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else -1


def _error_of(layer: keras.Layer) -> Any:
    """A linear layer whose kernel is what rounding adds to the given layer's."""
    from edgepress.deploy.quantize.fake_quant import QUANTISED, on_grid

    config = {**layer.get_config(), "activation": "linear", "use_bias": False, "name": None}
    error = type(layer).from_config(config)
    error.build(layer.input.shape)
    kernel = layer.get_weights()[0]
    kept = QUANTISED[type(layer).__name__].kept
    error.set_weights([np.asarray(on_grid(kernel, kept)) - kernel])
    return error
