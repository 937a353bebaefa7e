"""Layers through which channels pass: activations, normalisation, pooling, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.structure.channels.ids import Ids
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.activations import mixes
from edgepress.compress.structure.rules.elementwise import trace_same
from edgepress.compress.structure.rules.kernels import channel_axis
from edgepress.compress.structure.rules.rule import Rule, Sizes

if TYPE_CHECKING:
    import keras


def trace_activation(layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Element by element, unless the function mixes channels, as softmax does."""
    if mixes(layer):
        return trace_mixing(layer, inputs, site)
    return inputs[0]


def trace_mixing(_layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Every output depends on all channels."""
    site.pin(inputs[0], "{} runs over all channels")
    return site.pinned(f"'{site.path}' runs over all channels")


def trace_softmax(layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Mixing along its axes only; harmless where no channels lie along them."""
    axes = layer.axis if isinstance(layer.axis, Sequence) else [layer.axis]
    if None in axes or {inputs[0].axis(a) for a in axes} & {*inputs[0].varying, inputs[0].rank - 1}:
        return trace_mixing(layer, inputs, site)
    return inputs[0]


def trace_fixed(_layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Element by element with constants that can't be resized."""
    site.pin(inputs[0], "{} holds constants for these channels")
    return inputs[0]


def trace_rescaling(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """One factor for all channels, or constants for each."""
    several = max(np.size(layer.scale), np.size(layer.offset)) > 1
    return trace_fixed(layer, inputs, site) if several else inputs[0]


def resize_dropout(_layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`noise_shape`, where it names the number of channels."""
    shape = config.get("noise_shape")
    if shape:
        left = zip(shape, sizes.input(), strict=True)
        config["noise_shape"] = [n if n in (None, 1) else (size or n) for n, size in left]


def trace_masking(_layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """The mask is made by looking at all channels of a step."""
    site.pin(inputs[0], "{} makes its mask from all channels of a step")
    return inputs[0]


def carry(site: Site, weight: keras.Variable, ids: Ids, axes: Sequence[int]) -> None:
    """Bind a weight whose axes lie along axes of the tensor that passes.

    Args:
        site: Where.
        weight: The weight; anything without a shape is left out.
        ids: The tensor's channels.
        axes: For each axis of the weight, the tensor's axis.
    """
    if not hasattr(weight, "shape"):
        return
    for place, axis in enumerate(axes):
        axis = ids.axis(axis)
        if weight.shape[place] > 1 and (axis in ids.varying or not ids.varying):
            vector = site.trace.classes.unite_across(ids.spread([axis]), axis)
            site.carries(weight, place, vector)


def trace_batch_normalization(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Four vectors with one value for each channel."""
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        carry(site, getattr(layer, name, None), inputs[0], [_only(layer.axis)])
    return inputs[0]


def _only(axis: int | Sequence[int]) -> int:
    return int(axis[0] if isinstance(axis, Sequence) else axis)


def trace_layer_normalization(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Statistics over channels: they pass, but removing some changes the rest."""
    axes = list(layer.axis) if isinstance(layer.axis, Sequence) else [layer.axis]
    for name in ("gamma", "beta", "scale"):
        carry(site, getattr(layer, name, None), inputs[0], axes)
    _note_inexact(inputs[0], axes, site)
    return inputs[0]


def _note_inexact(ids: Ids, axes: Sequence[int], site: Site) -> None:
    if {ids.axis(a) for a in axes} & set(ids.varying):
        site.trace.inexact.append(site.path)


def trace_group_normalization(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Statistics over each group's channels: groups stay equal, or are removed whole."""
    ids, axis = inputs[0], layer.axis
    for name in ("gamma", "beta"):
        carry(site, getattr(layer, name, None), ids, [axis])
    vector = site.along(ids, axis)
    if 1 < layer.groups < len(vector):
        site.trace.classes.unite_across(vector.reshape(layer.groups, -1), 1)
    if layer.groups < len(vector):
        _note_inexact(ids, [axis], site)
    return ids


def resize_group_normalization(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`groups`, where each channel is its own group."""
    axis = layer.axis
    if layer.groups in (-1, sizes.kept(axis).size):
        config["groups"] = sizes.input()[axis]


def trace_prelu(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """A slope for each element, or each channel where the other axes are shared."""
    carry(site, layer.alpha, inputs[0], range(1, inputs[0].rank))
    return inputs[0]


def trace_scale(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """ConvNeXt's learned scale: one factor for each channel."""
    carry(site, layer.gamma, inputs[0], [-1])
    return inputs[0]


def resize_scale(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`projection_dim`."""
    config["projection_dim"] = sizes.weight(layer.gamma)[0]


def places(layer: keras.Layer, ids: Ids) -> list[int]:
    """The axes that aren't batch or channels."""
    channels = ids.axis(channel_axis(layer))
    return [a for a in range(1, ids.rank) if a != channels]


def _refuse_places(layer: keras.Layer, ids: Ids, site: Site) -> None:
    if set(places(layer, ids)) & set(ids.varying):
        site.pin(ids, "{} treats these channels as spatial positions")


def trace_pooling(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Places change, channels pass."""
    ids = inputs[0]
    _refuse_places(layer, ids, site)
    channels = ids.axis(channel_axis(layer))
    return site.placed(site.along(ids, channels), channels) if ids.varying else _same(ids, site)


def _same(ids: Ids, site: Site) -> Ids:
    """The one number of a tensor, for an output of another shape."""
    shape = site.shapes[0]
    return Ids(np.full([1] * len(shape), ids.array.ravel()[0]), shape)


def trace_global_pooling(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """All places become one, channels pass."""
    ids = inputs[0]
    _refuse_places(layer, ids, site)
    channels = ids.axis(channel_axis(layer))
    output = channels if layer.keepdims else -1
    return site.placed(site.along(ids, channels), output) if ids.varying else _same(ids, site)


DROPOUT = Rule(trace_same, resize_dropout)
RESCALING = Rule(trace_rescaling)
ACTIVATION = Rule(trace_activation)
SOFTMAX = Rule(trace_softmax)
FIXED = Rule(trace_fixed)
MASKING = Rule(trace_masking)
BATCH_NORMALIZATION = Rule(trace_batch_normalization)
LAYER_NORMALIZATION = Rule(trace_layer_normalization)
GROUP_NORMALIZATION = Rule(trace_group_normalization, resize_group_normalization)
PRELU = Rule(trace_prelu)
SCALE = Rule(trace_scale, resize_scale)
POOLING = Rule(trace_pooling)
GLOBAL_POOLING = Rule(trace_global_pooling)
