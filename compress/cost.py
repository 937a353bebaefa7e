"""What a model costs: parameters, multiply-accumulates, activation bytes, layer by layer.

A MAC is one multiplication whose product is added to a sum; batch size 1; an unknown axis (a free
image size or number of time steps) counts as 1. Biases, normalisation (which is folded into the
neighbouring kernel for inference), activations, pooling and data movement count 0, as in the
tables of the papers that `counting.formulas` quotes. Attention counts its two products of
activations. A layer without a formula (one of your own, one that holds layers) is counted in the
graph of its call; what can't be counted there is named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import keras

from edgepress.compress.counting.calls import count
from edgepress.compress.counting.count import Count, ShapeOf
from edgepress.compress.counting.graphs import Tally
from edgepress.compress.counting.parameters import weight_sizes
from edgepress.compress.counting.tracing import own_shape, traced_model
from edgepress.compress.graph import Call, graph_of, walk
from edgepress.compress.specs.pruning_result import Uncounted


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer, all its uses together.

    Attributes:
        name: Path of the layer: `outer/inner` in a nested model.
        type: Its class.
        params: Numbers in its weights; 0 for a layer whose weights were counted before.
        trainable_params: Those that training changes.
        macs: Multiply-accumulates of one inference at batch 1.
        activation_bytes: Size of what it puts out.
        bytes: Size of its weights.
        trainable: Whether training changes anything of it.
        uses: How often the graph calls it.
        doubts: What in it isn't counted, and why, one line each.
    """

    name: str
    type: str
    params: int
    trainable_params: int
    macs: int
    activation_bytes: int
    bytes: int
    trainable: bool
    uses: int = 1
    doubts: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether `macs` are all that it multiplies."""
        return not self.doubts


@dataclass(frozen=True)
class ModelCost:
    """The cost of a model; the sums of its layers'.

    Attributes:
        params: Numbers in all weights.
        trainable_params: Those that training changes.
        macs: Multiply-accumulates of one inference at batch 1.
        activation_bytes: Sizes of all layers' outputs together.
        bytes: Size of the weights in memory.
        uncounted: What `macs` leaves out, and why.
    """

    params: int
    trainable_params: int
    macs: int
    activation_bytes: int
    bytes: int
    uncounted: tuple[Uncounted, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Layers whose MACs aren't all counted."""
        return tuple(dict.fromkeys(found.layer for found in self.uncounted))


def call_macs(call: Call, shape: ShapeOf = own_shape) -> int:
    """Multiply-accumulates of one call.

    Args:
        call: The call.
        shape: Gives the weights' shapes; by default as they are.

    Returns:
        The MACs at batch 1, those that can be counted.
    """
    return count(call, shape).macs


def layer_costs(model: keras.Model) -> tuple[LayerCost, ...]:
    """The cost of each layer of a model.

    Args:
        model: A built Keras model. One without a graph of layers is called as a whole, and what
            it multiplies is told by its layers' names.

    Returns:
        One entry for each layer (and each operation that multiplies) in topological order. The
        parameters of a shared layer are counted once, its MACs for each use.
    """
    if graph_of(model) is None:
        return tuple(_without_graph(model))
    counted: set[int] = set()
    found: dict[int, LayerCost] = {}
    for call in walk(model):
        found_here, out = count(call, own_shape), sum(_product(s[1:]) for s in call.outputs)
        if not isinstance(call.operation, keras.Layer) and found_here == Count():
            continue
        before = found.get(id(call.operation))
        if before is None:
            before = _of_layer(call.path, call.operation, counted)
        found[id(call.operation)] = _one_more(before, found_here, out * _item_bytes(call.operation))
    return tuple(found.values())


def uncounted(costs: Iterable[LayerCost]) -> tuple[Uncounted, ...]:
    """What the MACs of layers leave out, and why."""
    return tuple(Uncounted(cost.name, reason) for cost in costs for reason in cost.doubts)


def _product(sizes: Iterable[int | None]) -> int:
    return math.prod(size or 1 for size in sizes)


def _without_graph(model: keras.Model) -> Iterator[LayerCost]:
    """A subclassed model: its layers, and last the model for what none of them does."""
    account = traced_model(model)
    counted: set[int] = set()
    macs, doubts = _by_layer(account, [layer.name for layer in model.layers])
    for layer in model.layers:
        cost = _of_layer(layer.name, layer, counted)
        yield replace(cost, macs=macs[layer.name], doubts=tuple(doubts.get(layer.name, ())))
    rest = replace(_of_layer(model.name, model, counted), macs=macs[""])
    rest = replace(rest, doubts=tuple(doubts.get("", ())))
    if rest.params or rest.macs or rest.doubts:
        yield rest


def _by_layer(account: Tally, names: list[str]) -> tuple[Counter[str], dict[str, list[str]]]:
    """MACs and doubts by the layer in whose scope an operation lies; "" for none."""

    def owner(path: str) -> str:
        for part in path.split("/")[:-1]:
            for name in (part, part.rpartition("_")[0]):  # a second call has a number behind it
                if name in names:
                    return name
        return ""

    macs: Counter[str] = Counter()
    doubts: dict[str, list[str]] = {}
    for term in account.terms:
        macs[owner(term.operation)] += term.macs
    for doubt in account.doubts:
        doubts.setdefault(owner(doubt.operation), []).append(doubt.line())
    return macs, doubts


def _one_more(cost: LayerCost, found: Count, activation_bytes: int) -> LayerCost:
    return replace(
        cost,
        macs=cost.macs + found.macs,
        activation_bytes=cost.activation_bytes + activation_bytes,
        uses=cost.uses + 1,
        doubts=tuple(dict.fromkeys(cost.doubts + found.doubts)),
    )


def _of_layer(path: str, layer: keras.Layer, counted: set[int]) -> LayerCost:
    own = [w for w in getattr(layer, "weights", ()) if id(w) not in counted]
    counted.update(map(id, own))
    numbers = weight_sizes(layer)
    sizes = {id(w): numbers[id(w)] for w in own}
    trained = {id(w) for w in getattr(layer, "trainable_weights", ())}
    trainable = sum(n for key, n in sizes.items() if key in trained)
    return LayerCost(
        name=path,
        type=type(layer).__name__,
        params=sum(sizes.values()),
        trainable_params=trainable,
        macs=0,
        activation_bytes=0,
        bytes=_stored(own),
        trainable=bool(trained),
        uses=0,
    )


def _stored(weights: Iterable[keras.Variable]) -> int:
    return sum(math.prod(w.shape) * _bytes_of(w.dtype) for w in weights)


def _item_bytes(operation: keras.Operation) -> int:
    return _bytes_of(getattr(operation, "compute_dtype", None) or "float32")


def _bytes_of(dtype: str) -> int:
    """Bytes of one number: the digits at the end of the type's name are its bits."""
    digits = "".join(c for c in str(dtype) if c.isdigit())
    return max(1, int(digits) // 8) if digits else 1


def model_cost(model: keras.Model) -> ModelCost:
    """The cost of a whole model.

    Args:
        model: A built Keras model.

    Returns:
        The sums over its layers.
    """
    costs = layer_costs(model)
    sizes = weight_sizes(model)
    return ModelCost(
        params=sum(sizes.values()),
        trainable_params=sum(sizes[id(w)] for w in model.trainable_weights),
        macs=sum(c.macs for c in costs),
        activation_bytes=sum(c.activation_bytes for c in costs),
        bytes=_stored(model.weights),
        uncounted=uncounted(costs),
    )
