"""Cross-layer equalisation: channels share one scale better once their sizes are evened out.

Dividing an output channel of one layer by a positive number and multiplying what the next layer
reads of it by the same number changes nothing in floats, as long as all between them commutes with
it. The number can be chosen for what int8 stores:

- `weights` evens out the kernels of both layers, as published;
- `ranges` evens out the activation between them, which has one scale for all its channels, where
  kernels have one for each output channel anyway.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
section 4.1; Xiao et al., SmoothQuant, 2023 (activations against the weights that read them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.models.rebuilding.replacing import readers, rewrite
from edgepress.deploy.quantize.folding import folded

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]

KERNELS = ("Conv1D", "Conv2D", "Dense", "DepthwiseConv2D")
# What a channel's positive factor passes through unchanged.
_COMMUTES = frozenset({
    "AveragePooling1D", "AveragePooling2D", "Dropout", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "MaxPooling1D",
    "MaxPooling2D", "SpatialDropout1D", "SpatialDropout2D", "ZeroPadding1D", "ZeroPadding2D",
})  # fmt: skip
_ROUNDS = 8
_CHUNK = 64
# A channel that hardly moves isn't blown up further than this.
_MOST = 64.0


@dataclass(frozen=True)
class Pair:
    """Two layers with a kernel, one reading the other's channels; names of layers."""

    first: str
    second: str
    between: tuple[str, ...]


def equalized(model: keras.Model, inputs: Sequence[Array], rule: str) -> keras.Model | None:
    """A model of the same function with evened-out channels.

    Args:
        model: A functional or Sequential Keras model.
        inputs: Calibration samples for each input, (n, …).
        rule: Name in `RULES`.

    Returns:
        A new model, or None where no two layers can be evened out. ReLU6 becomes ReLU between
        such layers: its bound would be another one for every channel.

    Raises:
        InputError: The model has no graph.
    """
    small = folded(model)
    pairs = _pairs(small)
    if not pairs:
        return None
    small = _unbounded(small, pairs)
    _scale(small, pairs, RULES[rule], inputs)
    return small


def _pairs(model: keras.Model) -> list[Pair]:
    read_by = readers(model)
    found = []
    for layer in model.layers:
        if not _scalable(layer):
            continue
        between: list[str] = []
        reader = _only(read_by, layer.name)
        while reader is not None and _commutes(reader):
            between.append(reader.name)
            reader = _only(read_by, reader.name)
        if reader is not None and _scalable(reader, reads=True):
            found.append(Pair(layer.name, reader.name, tuple(between)))
    return found


def _only(read_by: Mapping[str, list[keras.Operation | None]], name: str) -> keras.Operation | None:
    """The one operation that reads an output, or None."""
    reading = read_by.get(name, [])
    return reading[0] if len(reading) == 1 else None


def _scalable(layer: keras.Layer, reads: bool = False) -> bool:
    """Whether a layer's output channels, or those it reads, can be scaled one by one."""
    if type(layer).__name__ not in KERNELS or len(layer._inbound_nodes) != 1:
        return False
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    if reads:
        return int(getattr(layer, "groups", 1)) == 1
    return layer.activation.__name__ in ("linear", "relu", "relu6")


def _commutes(operation: keras.Operation) -> bool:
    if getattr(operation, "data_format", "channels_last") == "channels_first":
        return False
    return len(operation._inbound_nodes) == 1 and (
        type(operation).__name__ in _COMMUTES or _is_rectifier(operation)
    )


def _is_rectifier(operation: keras.Operation) -> bool:
    kind = type(operation).__name__
    if kind == "Activation":
        return operation.activation.__name__ in ("linear", "relu", "relu6")
    return kind == "ReLU" and not operation.negative_slope and not operation.threshold


def _unbounded(model: keras.Model, pairs: Sequence[Pair]) -> keras.Model:
    """The model with ReLU in place of ReLU6 between the pairs."""
    import keras

    swaps: dict[str, list[Any]] = {}
    for pair in pairs:
        for name in (pair.first, *pair.between):
            layer = model.get_layer(name)
            activation = getattr(getattr(layer, "activation", None), "__name__", "")
            if activation == "relu6":
                config = {**layer.get_config(), "activation": "relu"}
                swaps[name] = [type(layer).from_config(config)]
            elif type(layer).__name__ == "ReLU" and layer.max_value is not None:
                swaps[name] = [keras.layers.ReLU(name=name)]
    small = rewrite(model, swaps)
    for name in swaps:
        small.get_layer(name).set_weights(model.get_layer(name).get_weights())
    return small


def _scale(model: keras.Model, pairs: Sequence[Pair], rule: Rule, inputs: Sequence[Array]) -> None:
    """Scale the pairs' kernels in place, several times over: each pair changes its neighbours."""
    ends = [pair.between[-1] if pair.between else pair.first for pair in pairs]
    moving = _channel_ranges(model, ends, inputs)
    for _ in range(_ROUNDS):
        for pair, reached in zip(pairs, moving, strict=True):
            first, second = model.get_layer(pair.first), model.get_layer(pair.second)
            factor = _safe(rule(first, second, reached))
            reached /= factor
            _apply(first, second, factor)


def _apply(first: keras.Layer, second: keras.Layer, factor: Array) -> None:
    kernel, *bias = first.get_weights()
    shape = kernel.shape[-2:] if _is_depthwise(first) else (-1,)
    kernel = kernel / factor.reshape(shape)
    first.set_weights([kernel, *(b / factor for b in bias)])
    kernel, *bias = second.get_weights()
    second.set_weights([kernel * factor[:, None], *bias])


def _is_depthwise(layer: keras.Layer) -> bool:
    return type(layer).__name__ == "DepthwiseConv2D"


def _safe(factor: Array) -> Array:
    """Factors without those that can't be: a channel that is zero on either side stays."""
    factor = np.where(np.isfinite(factor) & (factor > 0), factor, 1.0)
    return np.clip(factor, 1 / _MOST, _MOST).astype(np.float32)


def _given(layer: keras.Layer) -> Array:
    """Largest weight of each output channel."""
    kernel = np.abs(layer.get_weights()[0])
    if _is_depthwise(layer):
        return np.asarray(kernel.max((0, 1)).reshape(-1))
    return np.asarray(kernel.reshape(-1, kernel.shape[-1]).max(0))


def _read(layer: keras.Layer) -> Array:
    """Largest weight that reads each input channel."""
    kernel = np.moveaxis(np.abs(layer.get_weights()[0]), -2, 0)
    return np.asarray(kernel.reshape(len(kernel), -1).max(1))


def _by_weights(first: keras.Layer, second: keras.Layer, reached: Array) -> Array:
    del reached
    with np.errstate(all="ignore"):
        return np.sqrt(_given(first) / _read(second))


def _by_ranges(first: keras.Layer, second: keras.Layer, reached: Array) -> Array:
    """Even out the activation; halfway where the second kernel has one scale for all it reads."""
    del first
    with np.errstate(all="ignore"):
        if _is_depthwise(second):
            return reached / np.max(reached)
        return np.sqrt(reached / _read(second))


Rule = Callable[[Any, Any, Array], Array]
RULES: dict[str, Rule] = {"weights": _by_weights, "ranges": _by_ranges}


def _channel_ranges(
    model: keras.Model, names: Sequence[str], inputs: Sequence[Array]
) -> list[Array]:
    """The largest value that each channel of some layers' outputs reaches."""
    tensors = [model.get_layer(name).output for name in names]
    found = [np.zeros(tensor.shape[-1], np.float32) for tensor in tensors]
    for values in watched(model, tensors, inputs):
        for largest, output in zip(found, values, strict=True):
            channels = np.abs(output).reshape(-1, len(largest)).max(0)
            np.maximum(largest, channels, out=largest)
    return found


def watched(
    model: keras.Model, tensors: Sequence[keras.KerasTensor], inputs: Sequence[Array]
) -> Iterator[list[Array]]:
    """What tensors inside a model hold for samples, in chunks.

    Args:
        model: A functional or Sequential Keras model.
        tensors: Of its graph.
        inputs: Samples for each input, (n, …).
    """
    import keras

    probe = keras.Model(model.inputs, list(tensors))
    for begin in range(0, len(inputs[0]), _CHUNK):
        outputs = probe([a[begin : begin + _CHUNK] for a in inputs], training=False)
        yield [np.asarray(output) for output in keras.tree.flatten(outputs)]
