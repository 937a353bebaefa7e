"""Walking a Keras model's graph: every call of every operation, nested models from within."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """One use of a layer or operation in a graph.

    Attributes:
        path: Name of the layer, behind those of the nested models it lies in: `outer/inner`.
        operation: The Keras layer or operation.
        inputs: Shapes of the tensors it receives, batch first.
        outputs: Shapes of the tensors it gives.
        node: Its node in the graph, which holds its other arguments; None where there is none.
    """

    path: str
    operation: Any
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    node: Any = None


def graph_of(model: keras.Operation) -> keras.Model | None:
    """The object that holds a model's nodes: itself, or a Sequential's inner graph; else None."""
    inner = getattr(model, "_functional", None)
    if inner is not None:
        return inner
    return model if hasattr(model, "_nodes_by_depth") else None


def require_graph(model: keras.Model) -> keras.Model:
    """`graph_of`, or an error that says what to do.

    Raises:
        InputError: The model is a subclass without a graph, or was never built.
    """
    graph = graph_of(model)
    if graph is None:
        raise InputError(
            f"model '{model.name}' has no graph of layers",
            "build it from keras.Input, as a Functional or Sequential model",
        )
    return graph


def require_open_batch(model: keras.Model) -> None:
    """Refuse a model that takes a fixed number of samples at a time: data can't go through it.

    Raises:
        InputError: It does.
    """
    for tensor in require_graph(model).inputs:
        if tensor.shape[0] is not None:
            raise InputError(
                f"model '{model.name}' has a fixed batch size of {tensor.shape[0]}, so it can't"
                " run on data of any length",
                "build it with keras.Input(shape) in place of batch_shape and set its weights, or"
                " prune without data",
            )


def nodes_of(graph: keras.Model) -> list[Node]:
    """The graph's nodes in an order in which each comes after what it depends on."""
    by_depth = graph._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def channel_tensors(node: Node) -> list[keras.KerasTensor]:
    """The tensors that a call receives, without Keras' masks."""
    mask = node.arguments.kwargs.get("mask")
    masks = {id(m) for m in (mask if isinstance(mask, (list, tuple)) else [mask])}
    return [t for t in node.input_tensors if id(t) not in masks]


def walk(
    model: keras.Model, prefix: str = "", shapes: Sequence[Shape] | None = None
) -> Iterator[Call]:
    """Every call in a model's graph, inputs left out, nested models entered.

    Args:
        model: A built Functional or Sequential model.
        prefix: Put before the names.
        shapes: Shapes of the inputs where they are known better than in the model itself (a nested
            model that was built for images of any size).

    Yields:
        The calls in topological order; a shared layer once for each use.

    Raises:
        InputError: The model has no graph.
    """
    graph = require_graph(model)
    known = _known_shapes(graph, shapes)
    for node in nodes_of(graph):
        if node.is_input:
            continue
        inputs = tuple(known[id(t)] for t in node.input_tensors)
        outputs = _output_shapes(node, inputs)
        known.update((id(t), s) for t, s in zip(node.output_tensors, outputs, strict=True))
        path = prefix + node.operation.name
        if graph_of(node.operation) is not None:
            yield from walk(node.operation, f"{path}/", inputs)
        else:
            yield Call(path, node.operation, inputs, outputs, node)


def _known_shapes(graph: keras.Model, shapes: Sequence[Shape] | None) -> dict[int, Shape]:
    own = [tuple(t.shape) for t in graph.inputs]
    given = list(shapes) if shapes is not None else own
    merged = [
        tuple(b if a is None else a for a, b in zip(o, g, strict=True))
        for o, g in zip(own, given, strict=True)
    ]
    return {id(t): s for t, s in zip(graph.inputs, merged, strict=True)}


def _output_shapes(node: Node, inputs: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The shapes that the graph recorded, or new ones where the inputs are known better."""
    if inputs == tuple(tuple(t.shape) for t in node.input_tensors):
        return tuple(tuple(t.shape) for t in node.output_tensors)
    import keras

    better = {
        id(t): keras.KerasTensor(s, dtype=t.dtype)
        for t, s in zip(node.input_tensors, inputs, strict=True)
    }
    args, kwargs = node.arguments.fill_in(better)
    spec = node.operation.compute_output_spec(*args, **kwargs)
    return tuple(tuple(t.shape) for t in keras.tree.flatten(spec))


def needed(
    graph: keras.Model,
    replaced: Mapping[int, keras.KerasTensor],
    reads: Callable[[Node], Sequence[keras.KerasTensor]] | None = None,
) -> list[Node]:
    """The nodes that the outputs still need when some tensors are replaced, in order.

    Args:
        graph: The graph.
        replaced: By identity of a tensor, what takes its place.
        reads: From a node to those of its inputs that it needs; all by default.
    """
    makers = {id(t): n for n in nodes_of(graph) for t in n.output_tensors}
    waiting = [resolve(t, replaced) for t in graph.outputs]
    seen: set[int] = set()
    while waiting:
        node = makers.get(id(waiting.pop()))
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            read = node.input_tensors if reads is None else reads(node)
            waiting += [resolve(t, replaced) for t in read]
    return [n for n in nodes_of(graph) if id(n) in seen]


def resolve(
    tensor: keras.KerasTensor, replaced: Mapping[int, keras.KerasTensor]
) -> keras.KerasTensor:
    """What finally stands for a tensor."""
    while id(tensor) in replaced:
        tensor = replaced[id(tensor)]
    return tensor
