"""One call, counted: by formula where that is known to hold, else in its graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import keras

from edgepress.compress.counting.count import Count, ShapeOf, Use
from edgepress.compress.counting.formulas import (
    CELLS,
    FORMULAS,
    OPERATIONS,
    WITHOUT_PRODUCTS,
    Formula,
    cell_size,
)
from edgepress.compress.counting.tracing import traced
from edgepress.compress.graph import Call, graph_of, walk

layers = keras.layers
# What a subclass may say otherwise without computing anything else.
_HARMLESS = frozenset({
    "__init__", "build", "get_config", "from_config", "compute_output_shape",
    "compute_output_spec", "compute_mask", "get_build_config", "build_from_config", "__repr__",
    "save_own_variables", "load_own_variables", "add_weight",
})  # fmt: skip
# Layers of Keras without weights that run what the user wrote.
_USERS = (layers.Lambda, layers.Wrapper)
# Layers of Keras without weights that multiply.
_MULTIPLYING = (layers.MelSpectrogram, layers.STFTSpectrogram)


def count(call: Call, shape: ShapeOf) -> Count:
    """Multiply-accumulates of one call.

    Args:
        call: The call.
        shape: Gives the weights' shapes.

    Returns:
        The MACs at batch 1, and what in it can't be counted.
    """
    return counted(Use(call.operation, call.inputs, call.outputs, shape, call.node))


def counted(use: Use) -> Count:
    """`count` of a call as formulas see it."""
    kind = _same_as(type(use.layer), _KNOWN)
    if kind in _COMPOSITES:
        return _COMPOSITES[kind](use)
    formula = FORMULAS[kind] if kind in FORMULAS else _formula(use.layer, len(use.inputs))
    return traced(use) if formula is None else Count(formula(use))


def has_formula(layer: keras.Layer) -> bool:
    """Whether a layer's multiply-accumulates follow from its settings and shapes alone."""
    if not layer.weights or graph_of(layer) is not None:
        return True
    return _same_as(type(layer), (*_KNOWN, *CELLS, layers.StackedRNNCells)) is not None


def _formula(operation: keras.Operation, inputs: int) -> Formula | None:
    """What counts an operation that isn't in the table; None where its graph is to be traced."""
    if not isinstance(operation, keras.Layer):
        return _formula_of_operation(operation, inputs)
    if not _is_keras(type(operation)) or isinstance(operation, (*_USERS, *_MULTIPLYING)):
        return None
    return None if operation.weights or operation._layers else _nothing


def _formula_of_operation(operation: keras.Operation, inputs: int) -> Formula | None:
    name = type(operation).__name__
    if not _is_keras(type(operation)):
        return None
    if name in OPERATIONS:
        # With one factor only the other one is an array, which only the graph shows.
        return OPERATIONS[name] if inputs == 2 or name == "Sum" else None
    return _nothing if name in WITHOUT_PRODUCTS else None


def _nothing(_use: Use) -> int:
    return 0


def _same_as(kind: type, known: tuple[type, ...]) -> type | None:
    """The nearest known class, if the one asked for computes nothing otherwise."""
    key = (kind, known)
    if key not in _NEAREST:
        _NEAREST[key] = _nearest(kind, known)
    return _NEAREST[key]


def _nearest(kind: type, known: tuple[type, ...]) -> type | None:
    own: list[type] = []
    for base in kind.__mro__:
        if base in known:
            return base if _is_keras(kind) or not _changes(kind, own, base) else None
        own.append(base)
    return None


def _changes(kind: type, own: list[type], base: type) -> bool:
    """Whether classes of the user's say what a class of Keras computes differently."""
    said = {name for c in own if not _is_keras(c) for name in vars(c)}
    methods = {name for name in said if callable(getattr(base, name, None))}
    return getattr(kind, "call", None) is not getattr(base, "call", None) or not (
        methods <= _HARMLESS
    )


def _is_keras(kind: type) -> bool:
    return kind.__module__.startswith("keras.")


def _recurrent(use: Use) -> Count:
    cells = getattr(use.layer.cell, "cells", None) or [use.layer.cell]
    if any(_same_as(type(cell), CELLS) is None for cell in cells):
        return traced(use)
    return Count(sum(cell_size(use, cell) for cell in cells) * (use.inputs[0][1] or 1))


def _bidirectional(use: Use) -> Count:
    layer = use.layer
    return counted(use.of(layer.forward_layer)) + counted(use.of(layer.backward_layer))


def _time_distributed(use: Use) -> Count:
    steps = use.inputs[0][1] or 1
    inputs = tuple((s[0], *s[2:]) for s in use.inputs)
    outputs = tuple((s[0], *s[2:]) for s in use.outputs)
    inner = use.layer.layer
    if graph_of(inner) is None:
        once = counted(replace(use, layer=inner, inputs=inputs, outputs=outputs, node=None))
        return once.times(steps)
    calls = (count(c, use.shape) for c in walk(inner, shapes=inputs))
    return sum(calls, Count()).times(steps)


_COMPOSITES: dict[type, Callable[[Use], Count]] = {
    layers.SimpleRNN: _recurrent,
    layers.LSTM: _recurrent,
    layers.GRU: _recurrent,
    layers.RNN: _recurrent,
    layers.Bidirectional: _bidirectional,
    layers.TimeDistributed: _time_distributed,
}
_KNOWN = (*FORMULAS, *_COMPOSITES)
_NEAREST: dict[tuple[type, tuple[type, ...]], type | None] = {}
