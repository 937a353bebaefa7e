"""The graph of one call of a layer or operation, counted: whatever the call does inside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import keras
from keras.src.backend.common.symbolic_scope import SymbolicScope

from edgepress.compress.counting.count import Count, Use
from edgepress.compress.counting.graphs import Doubt, Tally, tally
from edgepress.compress.graph import Shape, channel_tensors

if TYPE_CHECKING:
    import tensorflow as tf

_LONGEST = 160


@dataclass(frozen=True)
class _Traced:
    """What a call multiplies.

    Attributes:
        tally: The account of its graph.
        weights: For each capture of the graph, the place of the layer's weight that it is.
        batch: How many samples the graph takes.
    """

    tally: Tally
    weights: tuple[int | None, ...] = ()
    batch: int = 1


# A layer's graph is traced once for each kind of call; weights keep their places.
_KNOWN: WeakKeyDictionary[Any, dict[Any, _Traced]] = WeakKeyDictionary()


def traced(use: Use) -> Count:
    """Multiply-accumulates of one call, counted in its graph.

    A product with a weight grows with the weight's size, so other shapes of weights need no new
    graph.

    Args:
        use: The call.

    Returns:
        The MACs at batch 1, and what in it can't be counted.
    """
    found = _trace(use)
    weights = list(getattr(use.layer, "weights", ()))
    macs = 0
    for term in found.tally.terms:
        place = None if term.weight is None else found.weights[term.weight]
        size = 0 if place is None else math.prod(weights[place].shape)
        if place is not None and size:
            macs += term.macs * math.prod(use.shape(weights[place])) // size
        else:
            macs += term.macs
    return Count(
        macs // found.batch, tuple(dict.fromkeys(doubt.line() for doubt in found.tally.doubts))
    )


def traced_model(model: keras.Model) -> Tally:
    """The account of a built model without a graph of layers: it is called as one layer."""
    try:
        shapes = _built_for(model)
    except (TypeError, ValueError):
        shapes = ()
    if not shapes:
        reason = "it was never called, so the shapes of its inputs aren't known"
        return Tally(doubts=[Doubt("", reason)])
    return _trace(Use(model, shapes, (), own_shape)).tally


def _built_for(model: keras.Model) -> tuple[Shape, ...]:
    """The shapes that a model was built for."""
    given = getattr(model, "_build_shapes_dict", None) or {}
    found: list[Shape] = []
    for shape in given.values():
        single = shape and all(size is None or isinstance(size, int) for size in shape)
        found += [tuple(shape)] if single else [tuple(s) for s in shape]
    return tuple(found)


def own_shape(weight: keras.Variable | tf.Tensor) -> tuple[int, ...]:
    """A weight's shape as it is."""
    return tuple(weight.shape)


def _trace(use: Use) -> _Traced:
    known = _KNOWN.setdefault(use.layer, {})
    key = (id(use.node), use.inputs)
    if key not in known:
        known[key] = _first_that_works(use)
    return known[key]


def _first_that_works(use: Use) -> _Traced:
    """Batch 1; where the model insists on its own batch, that."""
    given = [shape[0] for shape in use.inputs if shape]
    batches = dict.fromkeys((1, *(size for size in given if size)))
    reason = ""
    for batch in batches:
        try:
            return _at(use, batch)
        except Exception as error:  # a call is the user's code: it may raise anything
            message = " ".join(str(error).split())
            reason = reason or f"{type(error).__name__}: {message[:_LONGEST]}"
    doubt = Doubt("", f"its call can't be traced ({reason})")
    return _Traced(Tally(doubts=[doubt]))


def _at(use: Use, batch: int) -> _Traced:
    import tensorflow as tf

    graph = tf.__internal__.FuncGraph("counted")
    with keras.StatelessScope(), SymbolicScope(), graph.as_default():
        args, kwargs = _arguments(use, batch)
        outputs = use.layer(*args, **kwargs)
    graph.outputs = [t for t in tf.nest.flatten(outputs) if isinstance(t, tf.Tensor)]
    free = any(size is None for shape in use.inputs for size in shape[1:])
    places = {id(w.value.handle): i for i, w in enumerate(getattr(use.layer, "weights", ()))}
    weights = tuple(places.get(id(outer)) for outer, _ in graph.captures)
    return _Traced(tally(graph, free), weights, batch)


def _arguments(use: Use, batch: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the call is given, with placeholders for tensors."""
    if use.node is None:
        dtype = getattr(use.layer, "input_dtype", None) or getattr(use.layer, "compute_dtype", None)
        args = tuple(_placeholder(shape, dtype or "float32", batch) for shape in use.inputs)
        return args, _inference(use.layer, {})
    tensors = use.node.input_tensors
    if len(tensors) != len(use.inputs):
        tensors = channel_tensors(use.node)  # a trace of channels leaves masks out
    known = {id(t): tuple(t.shape) for t in use.node.input_tensors}
    known |= {id(t): shape for t, shape in zip(tensors, use.inputs, strict=True)}
    given = {
        id(t): _placeholder(known[id(t)], t.dtype, batch)
        for t in {id(t): t for t in use.node.input_tensors}.values()
    }
    args, kwargs = use.node.arguments.fill_in(given)
    return args, _inference(use.layer, kwargs)


def _placeholder(shape: Shape, dtype: str, batch: int) -> tf.Tensor:
    import tensorflow as tf

    sizes = (batch, *shape[1:]) if shape else ()
    return tf.compat.v1.placeholder(dtype, sizes)


def _inference(layer: keras.Layer, kwargs: dict[str, Any]) -> dict[str, Any]:
    if getattr(layer, "_call_has_training_arg", False) and "training" not in kwargs:
        return {**kwargs, "training": False}
    return kwargs
