"""A model rebuilt with some of its layers replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.graph import nodes_of, require_graph
from edgepress.compress.models.rebuilding.copying import copy_layer

if TYPE_CHECKING:
    import keras

After = Callable[[Any, Any], Any]


def rewrite(
    model: keras.Model, swaps: Mapping[str, Sequence[keras.Operation]], after: After | None = None
) -> keras.Model:
    """Build a model of the same graph from new layers; the given one stays as it is.

    Args:
        model: A functional or Sequential Keras model without nested models.
        swaps: New layers by the name of the old one, applied one after the other; an empty
            sequence leaves the old one out. Layers that aren't named are copied with weights.
        after: Called with each operation of `model` and its new output tensor (inputs too);
            gives the tensor that takes its place.

    Returns:
        A new model.

    Raises:
        InputError: The model has no graph, or a nested model in it.
    """
    import keras

    graph = require_graph(model)
    place = after or _in_place
    tensors: dict[int, Any] = {}
    made: dict[str, Sequence[Any]] = dict(swaps)
    copied: list[tuple[Any, Any]] = []
    inputs = []
    for tensor in model.inputs:
        fresh = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
        inputs.append(fresh)
        tensors[id(tensor)] = place(tensor._keras_history.operation, fresh)
    for node in nodes_of(graph):
        if node.is_input:
            continue
        operation = node.operation
        if operation.name not in made:
            made[operation.name] = [copy_of(operation)]
            copied.append((operation, made[operation.name][0]))
        arguments, options = node.arguments.fill_in(tensors)
        results = _applied(made[operation.name], arguments, options)
        for old, new in zip(node.output_tensors, results, strict=True):
            tensors[id(old)] = place(operation, new)
    for old, new in copied:
        if hasattr(old, "get_weights"):
            new.set_weights(old.get_weights())
    outputs = [tensors[id(tensor)] for tensor in model.outputs]
    given = keras.tree.pack_sequence_as(graph._inputs_struct, inputs)
    results = keras.tree.pack_sequence_as(graph._outputs_struct, outputs)
    return keras.Model(given, results, name=model.name)


def _in_place(operation: keras.Operation, tensor: keras.KerasTensor) -> keras.KerasTensor:
    del operation
    return tensor


def copy_of(operation: keras.Operation, prefix: str = "") -> keras.Operation:
    """A new layer with a layer's settings; an operation without any is its own copy.

    Args:
        operation: The layer or operation.
        prefix: Put before its name.

    Raises:
        InputError: It can't be made from its settings, or is a model.
    """
    import keras

    if not isinstance(operation, keras.Layer):
        return operation
    if hasattr(operation, "layers"):
        raise InputError(f"layer '{operation.name}' is a model in itself: its layers stay hidden")
    fresh = copy_layer(operation)
    # The settings of a user's own layer may lack it.
    fresh.name = f"{prefix}{operation.name}"
    return fresh


def _applied(
    layers: Sequence[keras.Operation],
    arguments: Sequence[keras.KerasTensor],
    options: Mapping[str, Any],
) -> list[keras.KerasTensor]:
    import keras

    if not layers:
        return [arguments[0]]
    result = layers[0](*arguments, **options)
    for layer in layers[1:]:
        result = layer(result)
    return list(keras.tree.flatten(result))


def producers(model: keras.Model) -> dict[int, keras.Operation]:
    """The operation that makes each tensor, by the tensor's id."""
    nodes = nodes_of(require_graph(model))
    return {id(t): node.operation for node in nodes for t in node.output_tensors}


def readers(model: keras.Model) -> dict[str, list[keras.Operation | None]]:
    """The operations that read each operation's outputs, by its name; None is the model's end."""
    made_by = producers(model)
    found: dict[str, list[Any]] = {}
    for node in nodes_of(require_graph(model)):
        for tensor in () if node.is_input else node.input_tensors:
            found.setdefault(made_by[id(tensor)].name, []).append(node.operation)
    for tensor in model.outputs:
        found.setdefault(made_by[id(tensor)].name, []).append(None)
    return found
