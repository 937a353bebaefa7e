"""Layers that move data: the same movement is made with the ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.structure.channels.ids import Ids, Shape, compact
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.merging import trace_unknown
from edgepress.compress.structure.rules.passing import places
from edgepress.compress.structure.rules.rule import Rule, Sizes

if TYPE_CHECKING:
    import keras

    from edgepress.compress.structure.rules.rule import Outputs


def reshape(ids: Ids, shape: Shape) -> Ids | None:
    """Ids of a reshaped tensor; None where an open length makes that unknowable.

    Leading axes that both shapes share (the places of an image) are not touched, so they needn't be
    spread.
    """
    same = 0
    while same < min(ids.rank, len(shape)) and ids.shape[same] == shape[same]:
        same += 1
    old, new = ids.shape[same:], shape[same:]
    if None in old or None in new or _count(old) != _count(new):
        return None
    lengths = [*ids.array.shape[:same], *(n or 1 for n in new)]
    moved = ids.spread(range(same, ids.rank)).reshape(lengths)
    return compact(moved, shape)


def _count(shape: Shape) -> int:
    return math.prod(n or 1 for n in shape)


def trace_reshape(layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Reshape."""
    return reshape(inputs[0], site.shapes[0]) or trace_unknown(layer, inputs, site)


def resize_reshape(_layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`target_shape`."""
    config["target_shape"] = tuple(-1 if n is None else n for n in sizes.output()[1:])


def trace_flatten(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Flatten puts channels last before it flattens."""
    ids = inputs[0]
    if layer.data_format == "channels_first" and ids.rank > 2:
        axes = (0, *range(2, ids.rank), 1)
        ids = Ids(ids.array.transpose(axes), tuple(ids.shape[a] for a in axes))
    return reshape(ids, site.shapes[0]) or trace_unknown(layer, inputs, site)


def trace_permute(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Permute."""
    return Ids(inputs[0].array.transpose((0, *layer.dims)), site.shapes[0])


def concatenate(inputs: Sequence[Ids], axis: int, shape: Shape) -> Ids:
    """Ids of tensors put one after the other along an axis."""
    axis %= len(shape)
    lengths = [max(i.array.shape[a] for i in inputs) for a in range(len(shape))]
    parts = []
    for ids in inputs:
        target = list(lengths)
        target[axis] = ids.shape[axis] or 1
        parts.append(np.broadcast_to(ids.spread([axis]), target))
    return compact(np.concatenate(parts, axis), shape)


def trace_concatenate(layer: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Concatenate; refused where an axis of open length is joined."""
    axis = inputs[0].axis(layer.axis)
    if axis == 0 or (site.shapes[0][axis] is None and any(i.varying for i in inputs)):
        return _joined_open(layer, inputs, site, axis)
    keep_equal(inputs, [axis], site)
    return concatenate(inputs, axis, site.shapes[0])


def keep_equal(inputs: Sequence[Ids], joined: Sequence[int], site: Site) -> None:
    """Unite channels along every axis but those that tensors are joined on.

    Tensors can only be put beside each other as long as their other axes have the same length.
    """
    others = {a for i in inputs for a in i.varying} - set(joined)
    for axis in others:
        vectors = [site.trace.classes.unite_across(i.spread([axis]), axis) for i in inputs]
        for other in vectors[1:]:
            site.trace.classes.unite(vectors[0], other)


def _joined_open(layer: keras.Operation, inputs: tuple[Ids, ...], site: Site, axis: int) -> Outputs:
    """Places of open number put one after the other: channels that meet are the same."""
    if axis == 0 or any(axis in i.varying for i in inputs):
        return trace_unknown(layer, inputs, site)
    for other in inputs[1:]:
        site.trace.classes.unite(*np.broadcast_arrays(inputs[0].array, other.array))
    return Ids(np.broadcast_arrays(*(i.array for i in inputs))[0], site.shapes[0])


def trace_repeat_vector(_layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """RepeatVector: a new axis of equal steps."""
    return Ids(inputs[0].array[:, None, :], site.shapes[0])


def _pairs(value: Any, count: int) -> list[tuple[int, int]]:
    """The (before, after) of each place axis, however a layer writes them."""
    value = value if isinstance(value, Sequence) else (value,) * count
    if count == 1 and len(value) == 2 and not isinstance(value[0], Sequence):
        value = (tuple(value),)
    return [tuple(v) if isinstance(v, Sequence) else (v, v) for v in value]


def pad(ids: Ids, widths: Sequence[tuple[int, int]], site: Site) -> Ids:
    """Ids of a padded tensor: where channels lie along a padded axis, the padding is pinned.

    Args:
        ids: Before.
        widths: (before, after) for each axis.
        site: Where.
    """
    array = ids.array
    padded = [w if array.shape[a] > 1 else (0, 0) for a, w in enumerate(widths)]
    if not any(map(any, padded)):
        return Ids(array, site.shapes[0])
    filler = site.trace.classes.fresh(1)
    site.pin(filler, "{} puts constants here")
    return Ids(np.pad(array, padded, constant_values=int(filler[0])), site.shapes[0])


def trace_padding(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """ZeroPadding of places."""
    axes = places(layer, inputs[0])
    widths = [(0, 0)] * inputs[0].rank
    for axis, pair in zip(axes, _pairs(layer.padding, len(axes)), strict=True):
        widths[axis] = pair
    return pad(inputs[0], widths, site)


def trace_cropping(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Cropping of places."""
    array = inputs[0].array
    axes = places(layer, inputs[0])
    for axis, (before, after) in zip(axes, _pairs(layer.cropping, len(axes)), strict=True):
        if array.shape[axis] > 1:
            array = array.take(range(before, array.shape[axis] - after), axis)
    return site.compact(array)


RESHAPE = Rule(trace_reshape, resize_reshape)
FLATTEN = Rule(trace_flatten)
PERMUTE = Rule(trace_permute)
CONCATENATE = Rule(trace_concatenate)
REPEAT_VECTOR = Rule(trace_repeat_vector)
PADDING = Rule(trace_padding)
CROPPING = Rule(trace_cropping)
