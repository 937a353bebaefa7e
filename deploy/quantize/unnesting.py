"""Models inside of a model, put into its own graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepress.compress.graph import graph_of, nodes_of, require_graph
from edgepress.deploy.quantize.rewriting import copy_of


def unnested(model: Any) -> Any:
    """A model of the same function in which no layer is a model itself.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model with copies of the weights, or the given one where nothing is nested. Layers of
        an inner model have its name in front of theirs; one that is called twice is shared.

    Raises:
        InputError: An inner model has no graph.
    """
    import keras

    graph = require_graph(model)
    if not any(_is_model(node.operation) for node in nodes_of(graph)):
        return model
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in graph.inputs]
    made: dict[int, Any] = {}
    outputs = _inlined(graph, inputs, "", made)
    given = keras.tree.pack_sequence_as(graph._inputs_struct, inputs)
    results = keras.tree.pack_sequence_as(graph._outputs_struct, outputs)
    flat = keras.Model(given, results, name=model.name)
    for old, new in _pairs(graph, made):
        new.set_weights(old.get_weights())
    return flat


def _is_model(operation: Any) -> bool:
    import keras

    return isinstance(operation, keras.Model)


def _inlined(graph: Any, inputs: Sequence[Any], prefix: str, made: dict[int, Any]) -> list[Any]:
    """The outputs of a graph that is applied anew, layer by layer.

    Args:
        graph: The graph.
        inputs: Its input tensors.
        prefix: Put before the layers' names.
        made: The new layer of each old one, by identity.
    """
    import keras

    tensors = {id(old): new for old, new in zip(graph.inputs, inputs, strict=True)}
    for node in nodes_of(graph):
        if node.is_input:
            continue
        operation = node.operation
        arguments, options = node.arguments.fill_in(tensors)
        if _is_model(operation):
            inner = require_graph(operation)
            # `training` in such a call means nothing: Keras passes the outer model's on.
            flat = keras.tree.flatten(arguments)
            results = _inlined(inner, flat, f"{prefix}{operation.name}_", made)
        else:
            if id(operation) not in made:
                made[id(operation)] = copy_of(operation, prefix)
            layer = made[id(operation)]
            results = keras.tree.flatten(layer(*arguments, **options))
        tensors |= {id(old): new for old, new in zip(node.output_tensors, results, strict=True)}
    return [tensors[id(tensor)] for tensor in graph.outputs]


def _pairs(graph: Any, made: dict[int, Any]) -> list[tuple[Any, Any]]:
    """Old and new layers with weights, inner models entered."""
    found = []
    for node in nodes_of(graph):
        inner = graph_of(node.operation) if _is_model(node.operation) else None
        if inner is not None:
            found += _pairs(inner, made)
        elif id(node.operation) in made and getattr(node.operation, "weights", None):
            found.append((node.operation, made[id(node.operation)]))
    return found
