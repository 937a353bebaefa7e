"""What a pruned model is compared with: the original, in which nothing reads what was removed."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.structure.channels.site import Binding
from edgepress.compress.structure.tracing.groups import Alive, Channels


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Weights that let every channel matter, normalisation statistics included."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(size=weight.shape) * 0.3
        if "variance" in weight.name:
            value = np.abs(value) + 0.5
        if "gamma" in weight.name:
            value = value + 1
        weight.assign(value.astype("float32"))
    return model


def masked(channels: Channels, alive: Alive) -> keras.Model:
    """A copy of the original in which removed channels are read by nothing.

    Neither by kernels, nor by the statistics of a normalisation that runs over channels.
    """
    copy = copy_model(channels.model)
    _narrow_statistics(channels, alive, copy)
    twins = dict(zip(map(id, channels.model.weights), copy.weights, strict=True))
    for binding, units in channels.bound:
        if binding.role == "uses":
            _silence(twins[id(binding.weight)], binding, ~alive[units])
    return copy


def _silence(weight: Any, binding: Binding, gone: Alive) -> None:
    value = np.array(keras.ops.convert_to_numpy(weight))
    value[(slice(None),) * binding.axis + (gone,)] = 0
    weight.assign(value)


def _narrow_statistics(channels: Channels, alive: Alive, copy: keras.Model) -> None:
    """Let each normalisation over channels take its statistics from those that stay."""
    pairs = zip(channels.model._flatten_layers(), copy._flatten_layers(), strict=True)
    twins = {id(old): new for old, new in pairs}
    for visit in channels.trace.visits:
        if visit.call.path in channels.inexact:
            layer, ids = visit.call.operation, visit.inputs[0]
            axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
            (axis,) = [ids.axis(a) for a in axes if ids.axis(a) in ids.varying]
            kept = np.flatnonzero(channels.kept_along(ids, axis, alive))
            twin = twins[id(layer)]
            twin.call = partial(_normalised, twin, [ids.axis(a) for a in axes], axis, kept)


def _normalised(layer: Any, axes: list[int], axis: int, kept: Any, inputs: Any) -> Any:
    """What a normalisation gives when its statistics see the kept channels only."""
    seen = ops.take(inputs, kept, axis)
    side = [n if a in axes else 1 for a, n in enumerate(inputs.shape)]
    if isinstance(layer, keras.layers.UnitNormalization):
        squares = ops.sum(seen**2, axes, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(squares, 1e-12))
    if isinstance(layer, keras.layers.RMSNormalization):
        scale = ops.rsqrt(ops.mean(seen**2, axes, keepdims=True) + layer.epsilon)
        return inputs * scale * ops.reshape(layer.scale, side)
    if isinstance(layer, keras.layers.GroupNormalization):
        mean, variance = _moments_of_groups(layer, seen, axis, inputs.shape[axis])
    else:
        mean, variance = ops.moments(seen, axes, keepdims=True)
    found = (inputs - mean) * ops.rsqrt(variance + layer.epsilon)
    gamma, beta = (ops.reshape(w, side) for w in (layer.gamma, layer.beta))
    return found * gamma + beta


def _moments_of_groups(layer: Any, seen: Any, axis: int, count: int) -> Any:
    """Mean and variance of each group, at each of its channels as they were before."""
    found = [ops.moments(g, list(range(1, g.ndim))) for g in ops.split(seen, layer.groups, axis)]
    shape = [-1 if a == 0 else count if a == axis else 1 for a in range(seen.ndim)]
    repeats = count // layer.groups
    return [
        ops.reshape(ops.repeat(ops.stack(parts, 1), repeats, 1), shape)
        for parts in zip(*found, strict=True)
    ]


def cut(channels: Channels, share: float, seed: int = 0) -> Alive:
    """Remove a share of every group that can be pruned, drawn at random."""
    rng = np.random.default_rng(seed)
    alive = channels.all_alive()
    for group in channels.groups:
        if group.prunable:
            alive[rng.choice(group.units, int(group.size * share), replace=False)] = False
    return alive


def inputs_for(model: keras.Model, seed: int = 0, size: int = 32) -> Any:
    """Random inputs, open lengths at `size`."""
    rng = np.random.default_rng(seed)
    made = []
    for tensor in model.inputs:
        shape = (2, *(n or size for n in tensor.shape[1:]))
        whole = "int" in tensor.dtype
        value = rng.integers(0, 4, shape) if whole else rng.normal(size=shape)
        made.append(value.astype(tensor.dtype))
    return made if len(made) > 1 else made[0]


def outputs_of(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    return [np.asarray(t) for t in keras.tree.flatten(model(inputs, training=False))]


def relative_gap(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Largest difference, as a share of the largest value."""
    return max(
        float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-6))
        for a, b in zip(one, other, strict=True)
    )
