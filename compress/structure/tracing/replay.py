"""Running a graph call by call on real data, the original and its pruned twin side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgepress.compress.cost import layer_costs
from edgepress.compress.graph import channel_tensors, graph_of, nodes_of, require_graph
from edgepress.compress.structure.channels.site import Visit

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Node

Tensors = dict[int, Any]
# Most memory that the largest tensor of a run may take, and fewest samples that are run at all.
_MOST_BYTES = 256 * 2**20
_FEWEST = 16
Watch = Callable[[Visit, list[Any], list[Any]], None]


def affordable(model: keras.Model, samples: int) -> int:
    """How many samples can run through a model at once.

    Args:
        model: The model.
        samples: How many are wanted.
    """
    largest = max((c.activation_bytes // max(c.uses, 1) for c in layer_costs(model)), default=1)
    return min(samples, max(_FEWEST, _MOST_BYTES // max(largest, 1)))


def feed(model: keras.Model, samples: Mapping[str, Any]) -> list[tf.Tensor]:
    """Samples by input name as tensors in the order of the model's inputs.

    Args:
        model: The model.
        samples: (n, …) array for each input.
    """
    import tensorflow as tf

    tensors = []
    for tensor in require_graph(model).inputs:
        name = tensor._keras_history.operation.name
        value = samples[name] if name in samples else next(iter(samples.values()))
        tensors.append(tf.convert_to_tensor(value, tensor.dtype))
    return tensors


def watch(
    visits: Mapping[int, Visit], model: keras.Model, inputs: list[tf.Tensor], see: Watch
) -> list[tf.Tensor]:
    """Run a model eagerly and show every leaf call to a watcher.

    Args:
        visits: The trace's visits by node identity.
        model: The model.
        inputs: Its input tensors.
        see: Called with the visit, its input tensors and its output tensors.

    Returns:
        The output tensors.
    """
    import keras

    graph = require_graph(model)
    tensors: Tensors = {id(t): x for t, x in zip(graph.inputs, inputs, strict=True)}
    waiting = uses_of(graph)
    for node in nodes_of(graph):
        if node.is_input:
            continue
        given = [tensors[id(t)] for t in node.input_tensors]
        if graph_of(node.operation) is not None:
            outputs = watch(visits, node.operation, given, see)
        else:
            args, kwargs = node.arguments.fill_in(tensors)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            shown = [tensors[id(t)] for t in channel_tensors(node)]
            see(visits[id(node)], shown, outputs)
        tensors.update((id(t), o) for t, o in zip(node.output_tensors, outputs, strict=True))
        forget(node, waiting, tensors)
    return [tensors[id(t)] for t in graph.outputs]


def uses_of(graph: keras.Model) -> Counter[int]:
    """How often each tensor of a graph is still needed; the outputs for ever."""
    waiting: Counter[int] = Counter(id(t) for t in graph.outputs)
    for node in nodes_of(graph):
        waiting.update(id(t) for t in node.input_tensors)
    return waiting


def forget(node: Node, waiting: Counter[int], *held: Tensors) -> None:
    """Drop tensors that no later call needs, so that memory stays bounded."""
    for tensor in node.input_tensors:
        waiting[id(tensor)] -= 1
        if waiting[id(tensor)] <= 0:
            for tensors in held:
                tensors.pop(id(tensor), None)
