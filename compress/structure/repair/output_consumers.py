"""Where a layer's output goes: through normalisation, into a sum, behind a rectifier."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.graph import nodes_of
from edgepress.compress.structure.rules.kernels import channel_axis
from edgepress.compress.structure.tracing.replay import Tensors

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node

Matrix = NDArray[np.float64]
# Lower and upper ends that activations cut off.
_CLIPS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
_OPEN = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Pair:
    """Values of a graph's tensors in the original and in the pruned model.

    Attributes:
        before: The original's, by identity of the original's symbolic tensors.
        after: The pruned model's, by the same keys.
        readers: The nodes that read each tensor.
    """

    before: Tensors
    after: Tensors
    readers: dict[int, list[Any]]

    @property
    def sides(self) -> tuple[Tensors, Tensors]:
        """Both."""
        return self.before, self.after


@dataclass(frozen=True, eq=False)
class Destination:
    """What becomes of a layer's output `y`: `clip(factor * y + shift + others, low, high)`.

    Attributes:
        factor: For each output of the original; empty stands for 1.
        shift: The same, for 0.
        others: Tensors of the graph that are added.
        clip: The lower and upper end.
        normalised: Whether batch normalisation reads the output, and nothing else.
    """

    factor: Matrix = field(default_factory=lambda: np.zeros(0))
    shift: Matrix = field(default_factory=lambda: np.zeros(0))
    others: tuple[Any, ...] = ()
    clip: tuple[float, float] = _OPEN
    normalised: bool = False

    @property
    def bends(self) -> bool:
        """Whether something is cut off."""
        return self.clip != _OPEN


def readers_of(graph: keras.Model) -> dict[int, list[Node | None]]:
    """The nodes that read each tensor; an output is read once more, by nobody."""
    readers: dict[int, list[Any]] = {id(t): [None] for t in graph.outputs}
    for node in nodes_of(graph):
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    return readers


def branch_by_branch(graph: keras.Model) -> list[Node]:
    """The nodes in an order in which, before a sum, one branch is finished before the next.

    The shorter branch comes first, so that the longer one, which can do more, makes good for it.
    """
    makers = {id(t): n for n in nodes_of(graph) for t in n.output_tensors}
    length: dict[int, int] = {}
    for node in nodes_of(graph):
        before = [length[id(makers[id(t)])] for t in node.input_tensors]
        length[id(node)] = 1 + max(before, default=0)
    done: dict[int, Any] = {}
    waiting = [makers[id(t)] for t in reversed(graph.outputs)]
    while waiting:
        node = waiting[-1]
        feeding = [makers[id(t)] for t in node.input_tensors]
        open_ones = sorted((n for n in feeding if id(n) not in done), key=lambda n: length[id(n)])
        if open_ones:
            waiting.append(open_ones[0])
        else:
            done[id(node)] = node
            waiting.pop()
    return list(done.values())


def destination_of(node: Node, pair: Pair) -> Destination:
    """Follow a layer's output through batch normalisation, one sum and a rectifier at most.

    Args:
        node: The layer's call.
        pair: What has been computed so far; a sum counts where its other parts are known.
    """
    import keras

    clip = _clip(node.operation)
    if clip != _OPEN or _is_curved(node.operation):
        return Destination(clip=clip)
    found, tensor = Destination(), node.output_tensors[0]
    while len(pair.readers.get(id(tensor), [])) == 1:
        reader = pair.readers[id(tensor)][0]
        operation = getattr(reader, "operation", None)
        if isinstance(operation, keras.layers.BatchNormalization):
            if len(found.factor) or found.others or not _over_channels(operation, node):
                break
            factor, shift = _factors(operation)
            found = replace(found, factor=factor, shift=shift, normalised=True)
        elif isinstance(operation, keras.layers.Add):
            others = tuple(t for t in reader.input_tensors if t is not tensor)
            known = all(id(t) in side for t in others for side in pair.sides)
            if found.others or not others or not known:
                break
            found = replace(found, others=others)
        else:
            return replace(found, clip=_clip(operation))
        tensor = reader.output_tensors[0]
    return found


def _over_channels(normalisation: keras.layers.BatchNormalization, node: Node) -> bool:
    """Whether a batch normalisation has its factors along the channels that a layer makes."""
    given, rank = normalisation.axis, len(node.output_tensors[0].shape)
    axis = given[0] if isinstance(given, (list, tuple)) else given
    return bool(axis % rank == channel_axis(node.operation) % rank)


def _clip(operation: keras.Operation | None) -> tuple[float, float]:
    """What an activation cuts off; nothing where it bends otherwise."""
    import keras

    if isinstance(operation, keras.layers.ReLU):
        plain = not operation.negative_slope and not operation.threshold
        high = np.inf if operation.max_value is None else float(operation.max_value)
        return (0.0, high) if plain else _OPEN
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    return _CLIPS.get(name, _OPEN)


def _is_curved(layer: keras.Operation) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is not None and getattr(activation, "__name__", "") != "linear"


def _factors(layer: keras.layers.BatchNormalization) -> tuple[Matrix, Matrix]:
    """What batch normalisation multiplies each channel with, kept away from 0, and adds."""
    mean, variance = (
        np.asarray(w.numpy(), np.float64) for w in (layer.moving_mean, layer.moving_variance)
    )
    gamma = np.ones_like(variance) if layer.gamma is None else np.asarray(layer.gamma.numpy())
    beta = np.zeros_like(variance) if layer.beta is None else np.asarray(layer.beta.numpy())
    factors = gamma / np.sqrt(variance + layer.epsilon)
    least = 0.1 * float(np.median(np.abs(factors))) + 1e-9
    factors = np.where(np.abs(factors) < least, np.copysign(least, factors), factors)
    return factors, beta - mean * factors
