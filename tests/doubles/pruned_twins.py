"""What a pruned model is compared with: the original, in which nothing reads what was removed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgepress.compress.finetune.copying import copy_model
from edgepress.compress.structure.groups import Alive, Channels
from edgepress.compress.structure.trace import Binding


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
    """A copy of the original in which removed channels are read by nothing."""
    copy = copy_model(channels.model)
    twins = dict(zip(map(id, channels.model.weights), copy.weights, strict=True))
    for binding, units in channels.bound:
        if binding.role == "uses":
            _silence(twins[id(binding.weight)], binding, ~alive[units])
    return copy


def _silence(weight: Any, binding: Binding, gone: Alive) -> None:
    value = np.array(keras.ops.convert_to_numpy(weight))
    value[(slice(None),) * binding.axis + (gone,)] = 0
    weight.assign(value)


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
