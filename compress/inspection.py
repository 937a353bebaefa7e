"""`inspect`: what a model consists of, what it costs, and what can be pruned."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.cost import LayerCost, layer_costs, uncounted
from edgepress.compress.counting.parameters import count_params
from edgepress.compress.graph import graph_of
from edgepress.compress.specs.pruning_result import Uncounted

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerReport:
    """One layer in numbers; see `cost.LayerCost`.

    Attributes:
        sparsity: Share of zeros in its kernels.
        entropy_bytes: Bytes of its kernels if each value were coded by how often it occurs, with
            the table of values; None without kernels.
    """

    name: str
    type: str
    params: int
    macs: int
    trainable: bool
    sparsity: float
    activation_bytes: int
    entropy_bytes: int | None = None


@dataclass(frozen=True)
class GroupReport:
    """Channels that are ranked together.

    Attributes:
        id: Name of the group: the first layer that makes its channels.
        channels: How many there are.
        layers: All layers that make them.
        prunable: Whether they can be removed.
        reason: Why not, or None.
    """

    id: str
    channels: int
    layers: tuple[str, ...]
    prunable: bool
    reason: str | None


@dataclass(frozen=True)
class Inspection:
    """A model in numbers.

    Attributes:
        params: Numbers in its weights.
        trainable_params: Those that training changes.
        macs: Multiply-accumulates of one inference at batch 1.
        bytes: Size as a `.keras` file without optimizer state.
        sparsity: Share of zeros in all kernels.
        entropy_bytes: Bytes of all kernels if their values were coded by frequency.
        layers: Layer by layer.
        groups: Channel groups; empty for a model without a graph of layers.
        uncounted: Layers whose multiply-accumulates `macs` leaves out, and why.
    """

    params: int
    trainable_params: int
    macs: int
    bytes: int
    sparsity: float
    entropy_bytes: int
    layers: tuple[LayerReport, ...]
    groups: tuple[GroupReport, ...]
    uncounted: tuple[Uncounted, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


def inspect(model: keras.Model) -> Inspection:
    """Look at a model without changing it.

    Args:
        model: Keras model, or anything that `load` takes.

    Returns:
        Costs, layers and channel groups.

    Raises:
        InputError: It can't be loaded.
    """
    from edgepress.compress.models import load
    from edgepress.compress.models.guarding.many_layers import many_layers

    model = load(model)
    with many_layers():
        return _inspected(model)


def _inspected(model: keras.Model) -> Inspection:
    from edgepress.compress.models.writing import saved_bytes

    costs = layer_costs(model)
    zeros = _zeros_by_layer(model)
    coded = _coded_by_layer(model)
    return Inspection(
        params=count_params(model),
        trainable_params=sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        macs=sum(cost.macs for cost in costs),
        bytes=saved_bytes(model),
        sparsity=_share(zeros.values()),
        entropy_bytes=sum(coded.values()),
        layers=_layers(costs, zeros, coded),
        groups=_groups(model),
        uncounted=uncounted(costs),
    )


def _zeros_by_layer(model: keras.Model) -> dict[str, tuple[int, int]]:
    """For each layer with kernels: (zeros, weights)."""
    from edgepress.compress.weights.masks.masks import count_zeros
    from edgepress.compress.weights.masks.prunable import find_kernels

    kernels, _ = find_kernels(model, depthwise=True)
    found: dict[str, tuple[int, int]] = {}
    for kernel in kernels:
        zeros, weights = count_zeros([kernel.seen()])
        before = found.get(kernel.layer_path, (0, 0))
        found[kernel.layer_path] = (before[0] + zeros, before[1] + weights)
    return found


def _coded_by_layer(model: keras.Model) -> dict[str, int]:
    """For each layer with kernels: the entropy bound of them, in bytes."""
    from edgepress.compress.weights.clusters.entropy import entropy_bounds

    found: dict[str, int] = {}
    for bound in entropy_bounds(model):
        found[bound.layer_path] = found.get(bound.layer_path, 0) + bound.bytes
    return found


def _share(counts: Iterable[tuple[int, int]]) -> float:
    zeros, weights = (sum(part) for part in zip((0, 0), *counts, strict=True))
    return zeros / weights if weights else 0.0


def _layers(
    costs: Sequence[LayerCost], zeros: dict[str, tuple[int, int]], coded: dict[str, int]
) -> tuple[LayerReport, ...]:
    inside: dict[str, list[str]] = {}
    for path in zeros:
        names = path.split("/")
        for end in range(1, len(names) + 1):
            inside.setdefault("/".join(names[:end]), []).append(path)
    return tuple(_layer(cost, inside.get(cost.name, ()), zeros, coded) for cost in costs)


def _layer(
    cost: LayerCost,
    inside: Sequence[str],
    zeros: dict[str, tuple[int, int]],
    coded: dict[str, int],
) -> LayerReport:
    """One layer; kernels of layers inside a wrapper count as the wrapper's."""
    return LayerReport(
        name=cost.name,
        type=cost.type,
        params=cost.params,
        macs=cost.macs,
        trainable=cost.trainable,
        sparsity=_share(zeros[path] for path in inside),
        activation_bytes=cost.activation_bytes,
        entropy_bytes=sum(coded[path] for path in inside) if inside else None,
    )


def _groups(model: keras.Model) -> tuple[GroupReport, ...]:
    from edgepress.compress.structure.tracing.groups import find_channels

    if graph_of(model) is None:
        return ()
    return tuple(
        GroupReport(g.name, g.channels, g.layers, g.prunable, g.reason or None)
        for g in find_channels(model).groups
    )
