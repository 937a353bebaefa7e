"""Arrays whose layout changed: Keras 1's kernels, cuDNN's, folded normalisations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.models.legacy.assembly import tfmot
from edgepress.compress.models.legacy.formats.saved_model import Saved, Tensor, Weight

if TYPE_CHECKING:
    import keras

    from edgepress.compress.models.legacy.assembly.building import Member

_LEAVES = {
    "depthwise_kernel": "kernel",
    "W": "kernel",
    "b": "bias",
    "U": "recurrent_kernel",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
    "alphas": "alpha",
}


def leaf_name(name: str) -> str:
    """Today's name of an array ("dense_1_W" → "kernel")."""
    short = name.partition(":")[0]
    tail = short.rpartition("_")[2]
    if short not in _LEAVES and tail in ("W", "b", "U"):
        short = tail
    return _LEAVES.get(short, short)


def snake_case(name: str) -> str:
    """The name under which an archive holds a layer of a class ("Conv2D" → "conv2d").

    Source: Keras's own rule for archive paths, which both versions share.
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def convert(
    member: Member, layer: keras.Layer, arrays: Sequence[Weight], saved: Saved
) -> list[Weight]:
    """Bring a layer's saved arrays into the layout of Keras 3.

    Args:
        member: What the layer was saved as.
        layer: What it became.
        arrays: Its arrays in the saved order.
        saved: The file.

    Returns:
        Arrays in the layer's order and layout.
    """
    found = list(arrays)
    if member.class_name in tfmot.WRAPPERS:
        keeps_zeros = bool(member.config.get("preserve_sparsity"))
        return convert(_inner(member), layer, tfmot.unwrap(found, keeps_zeros), saved)
    kind = type(layer).__name__
    if kind in ("Bidirectional", "TimeDistributed"):
        return _wrapped(member, layer, found, saved)
    if saved.is_keras1 and kind in KERAS1:
        found = KERAS1[kind](layer, found)
    if member.class_name == "WeightNormalization":
        found = _weight_norm(found)
    if member.class_name == "SpectralNormalization":
        found = [a for a in found if a.leaf not in ("sn_u", "vector_u", "u")]
    if kind.startswith("LocallyConnected") and found and found[0].value.ndim != 3:
        unshared = _sparse if found[0].value.ndim == 1 else _unshared
        found[0] = _with(found[0], unshared(layer, found[0].value))
    if kind in ("LSTM", "GRU") and len(found) == 3:
        found = _from_cudnn(layer, found, 4 if kind == "LSTM" else 3)
    return _transposed_conv(layer, kind, found)


def _with(array: Weight, value: Tensor) -> Weight:
    return Weight(array.name, value)


def _wrapped(
    member: Member, layer: keras.Layer, arrays: list[Weight], saved: Saved
) -> list[Weight]:
    """The arrays of the layers inside a wrapper, one after the other."""
    if type(layer).__name__ == "TimeDistributed":
        return convert(_inner(member), layer.layer, arrays, saved)
    half = len(arrays) // 2
    forward = convert(_inner(member), layer.forward_layer, arrays[:half], saved)
    return forward + convert(_inner(member), layer.backward_layer, arrays[half:], saved)


def _inner(member: Member) -> Member:
    spec = member.config.get("layer") or {}
    config = spec.get("config") or {}
    return type(member)(str(config.get("name")), str(spec.get("class_name")), config, None)


def _weight_norm(arrays: list[Weight]) -> list[Weight]:
    """Fold `g · v / ‖v‖` (norm over all axes but the last) into one kernel."""
    parts = {a.leaf: a for a in arrays}
    kernels = [a for a in arrays if a.leaf in ("kernel", "v", "depthwise_kernel")]
    if "g" not in parts or not kernels:
        return [a for a in arrays if "initialized" not in a.leaf]
    v, g = kernels[0].value, parts["g"].value
    norm = np.sqrt((v.astype(np.float64) ** 2).sum(axis=tuple(range(v.ndim - 1))))
    folded = _with(kernels[0], (v * (g / norm)).astype(v.dtype))
    bias = [a for a in arrays if a.leaf == "bias"]
    return [folded, *bias]


def _windows(layer: keras.Layer) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position of a locally connected layer, and its window in the padded input."""
    for place in np.ndindex(*layer.positions):
        yield (
            place,
            tuple(
                slice(at * stride, at * stride + size)
                for at, stride, size in zip(place, layer.strides, layer.kernel_size, strict=True)
            ),
        )


def _unshared(layer: keras.Layer, kernel: Tensor) -> Tensor:
    """A locally connected kernel saved as one dense matrix over the whole input."""
    rank = layer.rank
    if layer.data_format == "channels_first":
        kernel = np.moveaxis(kernel, 0, rank)
        kernel = np.moveaxis(kernel, rank + 1, -1)
    kernel = np.pad(kernel, (*layer.margins(), *((0, 0) for _ in range(kernel.ndim - rank))))
    places = []
    for place, window in _windows(layer):
        index: Any = (*window, slice(None), *place, slice(None))
        patch = kernel[index]
        if layer.data_format == "channels_first":
            patch = np.moveaxis(patch, -2, 0)
        places.append(patch.reshape(-1, patch.shape[-1]))
    return np.stack(places)


def _sparse(layer: keras.Layer, kernel: Tensor) -> Tensor:
    """A locally connected kernel saved as the entries of a sparse matrix, output by output.

    Entries that would fall outside the input are not saved.
    """
    count, patch, filters = layer.kernel.shape
    first = layer.data_format == "channels_first"
    inside = _inside(layer, patch // math.prod(layer.kernel_size))
    made = np.zeros((count, patch, filters), kernel.dtype)
    at = 0
    outer, inner = (filters, count) if first else (count, filters)
    for a in range(outer):
        for b in range(inner):
            place, unit = (b, a) if first else (a, b)
            rows = np.flatnonzero(inside[place])
            made[place, rows, unit] = kernel[at : at + len(rows)]
            at += len(rows)
    return made


def _inside(layer: keras.Layer, channels: int) -> Tensor:
    """Which entries of each position's patch lie inside the input: (positions, patch)."""
    first = layer.data_format == "channels_first"
    sizes = layer.input_sizes
    there = np.pad(np.ones(sizes, bool), layer.margins())
    places = []
    for _, window in _windows(layer):
        patch = there[window].ravel()
        places.append(np.tile(patch, channels) if first else np.repeat(patch, channels))
    return np.stack(places)


def _from_cudnn(layer: keras.Layer, arrays: list[Weight], gates: int) -> list[Weight]:
    """Kernels as cuDNN keeps them (told by the two biases of each gate) in Keras's layout."""
    kernel, recurrent, bias = (a.value for a in arrays)
    units = recurrent.shape[0]
    if bias.shape != (2 * units * gates,):
        return arrays
    turned = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, gates)])
    inner = np.hstack([k.T for k in np.hsplit(recurrent, gates)])
    bias = bias.reshape(2, -1)
    bias = bias.sum(axis=0) if gates == 4 else bias
    values = (turned, inner, bias)
    return [_with(a, value) for a, value in zip(arrays, values, strict=True)]


def _transposed_conv(layer: keras.Layer, kind: str, arrays: list[Weight]) -> list[Weight]:
    """Kernels in Theano's order (out, in, rows, columns) where only that order fits."""
    if kind not in ("Conv2D", "Conv2DTranspose", "ConvLSTM2D") or not arrays:
        return arrays
    wanted = [tuple(v.shape) for v in layer.weights]
    turned = []
    for array, shape in zip(arrays, wanted, strict=False):
        value = array.value
        if value.ndim == 4 and value.shape != shape:
            moved = np.transpose(value, (2, 3, 1, 0))
            value = moved if moved.shape == shape else np.transpose(value, (3, 2, 0, 1))
        turned.append(_with(array, value))
    return turned + arrays[len(wanted) :]


def _k1_conv1d(layer: keras.Layer, arrays: list[Weight]) -> list[Weight]:
    """(length, 1, in, out), or Keras 1.1's (out, in, length, 1)."""
    kernel = arrays[0].value
    if kernel.ndim != 4:
        return arrays
    if kernel.shape[:2] != (layer.kernel_size[0], 1) or kernel.shape[3] != layer.filters:
        kernel = np.transpose(kernel, (2, 3, 1, 0))
    return [_with(arrays[0], kernel[:, 0]), *arrays[1:]]


def _k1_conv2d(layer: keras.Layer, arrays: list[Weight]) -> list[Weight]:
    """Theano's order (out, in, rows, columns) in models with the channels first."""
    if layer.data_format == "channels_first" and arrays[0].value.ndim == 4:
        return [_with(arrays[0], np.transpose(arrays[0].value, (2, 3, 1, 0))), *arrays[1:]]
    return arrays


def _k1_separable(layer: keras.Layer, arrays: list[Weight]) -> list[Weight]:
    """Both kernels in Theano's order in models with the channels first."""
    if layer.data_format != "channels_first":
        return arrays
    return [
        _with(a, np.transpose(a.value, (2, 3, 1, 0))) if a.value.ndim == 4 else a for a in arrays
    ]


def _k1_conv2d_transpose(layer: keras.Layer, arrays: list[Weight]) -> list[Weight]:
    order = (2, 3, 0, 1) if layer.data_format == "channels_first" else (0, 1, 3, 2)
    moved = np.transpose(arrays[0].value, order)
    if moved.shape != tuple(layer.weights[0].shape):
        moved = np.transpose(moved, (0, 1, 3, 2))
    return [_with(arrays[0], moved), *arrays[1:]]


def _k1_conv3d(layer: keras.Layer, arrays: list[Weight]) -> list[Weight]:
    if layer.data_format == "channels_first":
        return [_with(arrays[0], np.transpose(arrays[0].value, (2, 3, 4, 1, 0))), *arrays[1:]]
    return arrays


def _joined(arrays: list[Weight], order: Sequence[int]) -> list[Weight]:
    """Gates saved one by one (kernel, recurrent kernel, bias of each), side by side."""
    if len(arrays) != 3 * len(order):
        return arrays
    names = ("kernel", "recurrent_kernel", "bias")
    return [
        Weight(name, np.concatenate([arrays[3 * gate + part].value for gate in order], axis=-1))
        for part, name in enumerate(names)
    ]


def _k1_conv_lstm(layer: keras.Layer, arrays: list[Weight]) -> list[Weight]:
    joined = _joined(arrays, (0, 2, 1, 3))
    if layer.data_format != "channels_first" or len(arrays) != 12:
        return joined
    gates = []
    for place in (0, 1):
        parts = [arrays[3 * gate + place].value for gate in (0, 2, 1, 3)]
        moved = [np.transpose(part, (2, 3, 1, 0)) for part in parts]
        gates.append(_with(joined[place], np.concatenate(moved, axis=-1)))
    return [*gates, joined[2]]


# What Keras 1 held otherwise. Gates: LSTM i, c, f, o → i, f, c, o; GRU z, r, h.
KERAS1: dict[str, Callable[[Any, list[Weight]], list[Weight]]] = {
    "Conv1D": _k1_conv1d,
    "Conv2D": _k1_conv2d,
    "Conv2DTranspose": _k1_conv2d_transpose,
    "SeparableConv2D": _k1_separable,
    "Conv3D": _k1_conv3d,
    "LSTM": lambda layer, arrays: _joined(arrays, (0, 2, 1, 3)),
    "GRU": lambda layer, arrays: _joined(arrays, (0, 1, 2)),
    "ConvLSTM2D": _k1_conv_lstm,
    "UnlearnedNormalization": lambda layer, arrays: arrays[:2],
}
