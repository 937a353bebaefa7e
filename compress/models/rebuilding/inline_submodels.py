"""Models inside of a model, put into its own graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.graph import nodes_of, require_graph
from edgepress.compress.models.rebuilding.replacing import copy_of

if TYPE_CHECKING:
    import keras


def unnested(model: keras.Model) -> keras.Model:
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
    made: dict[int, tuple[Any, Any]] = {}
    outputs = _inlined(graph, inputs, "", made)
    given = keras.tree.pack_sequence_as(graph._inputs_struct, inputs)
    results = keras.tree.pack_sequence_as(graph._outputs_struct, outputs)
    flat = keras.Model(given, results, name=model.name)
    for old, new in made.values():
        if getattr(old, "weights", None):
            new.set_weights(old.get_weights())
    return flat


def _is_model(operation: keras.Operation) -> bool:
    import keras

    return isinstance(operation, keras.Model)


def _inlined(
    graph: keras.Model,
    inputs: Sequence[keras.KerasTensor],
    prefix: str,
    made: dict[int, keras.Operation],
) -> list[keras.KerasTensor]:
    """The outputs of a graph that is applied once more, layer by layer.

    Args:
        graph: The graph.
        inputs: Its input tensors.
        prefix: Put before the layers' names.
        made: Each old layer and its new one, by the old one's identity.
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
                made[id(operation)] = operation, copy_of(operation, prefix)
            layer = made[id(operation)][1]
            results = keras.tree.flatten(layer(*arguments, **options))
        tensors |= {id(old): new for old, new in zip(node.output_tensors, results, strict=True)}
    return [tensors[id(tensor)] for tensor in graph.outputs]
