"""The child's part of SavedModels: TensorFlow loads them here, and nowhere else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.counting.graphs import Tally, tally_of
from edgepress.compress.counting.operations import FORMULAS, ones
from edgepress.deploy.exporters.tracing import SIGNATURE, graph_operations
from edgepress.deploy.sources.contents.operation import Constant, Operation

if TYPE_CHECKING:
    import tensorflow as tf

# Nodes that hold, name or pass values on.
_PLUMBING = frozenset({"Const", "Identity", "IdentityN", "NoOp", "Placeholder"})
# Nodes that give stored numbers another shape: what reads them reads the numbers.
_SHAPING = frozenset({"ExpandDims", "Identity", "Reshape", "Squeeze", "Transpose"})
_LOOKS_UP = frozenset({"GatherV2", "ResourceGather"})


def trace(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write a SavedModel's signature as the SavedModel that converters get.

    Args:
        request: `source` and `out` (folders), `key` (the signature), `inputs` and `outputs`
            (by the signature's name: the new name), `batch` (or None), `shapes` (sizes without
            the batch by the signature's name, where they are free).

    Returns:
        `inputs` and `outputs`, each [name, shape, dtype], and `operations` by first node.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(request["source"])
    inner = loaded.signatures[request["key"]]
    names: Mapping[str, str] = request["inputs"]
    specs = {}
    for own, spec in inner.structured_input_signature[1].items():
        sizes = request["shapes"].get(own, spec.shape[1:])
        shape = (spec.shape[0] or request["batch"], *sizes)
        specs[names[own]] = tf.TensorSpec(shape, spec.dtype, name=names[own])

    def infer(**given: Any) -> dict[str, Any]:
        found = inner(**{own: given[name] for own, name in names.items()})
        return {n: tf.identity(found[own], name=n) for own, n in request["outputs"].items()}

    function = tf.function(infer, autograph=False).get_concrete_function(**specs)
    holder = tf.Module()
    holder.loaded = loaded  # what the function captures is saved with it
    tf.saved_model.save(holder, request["out"], signatures={SIGNATURE: function})
    results = function.structured_outputs
    return {
        "inputs": [_told(name, specs[name]) for name in names.values()],
        "outputs": [_told(name, results[name]) for name in request["outputs"].values()],
        "operations": graph_operations(function),
    }


def _told(name: str, tensor: tf.Tensor) -> list[Any]:
    return [name, list(tensor.shape), tensor.dtype.name]


def inspect(request: Mapping[str, Any]) -> dict[str, Any]:
    """Look at the operations of a SavedModel's signature, its weights put in as constants.

    Args:
        request: `source` (folder), `key` (the signature).

    Returns:
        `operations` and `notes`.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(request["source"])  # kept: its variables live as long as it
    function = loaded.signatures[request["key"]]
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    tallies: dict[str, Tally] = {}
    operations = list(_operations(frozen.graph, tallies))
    doubts = [doubt.line() for found in tallies.values() for doubt in found.doubts]
    notes = [f"the MACs are not all counted: {doubt}" for doubt in dict.fromkeys(doubts)]
    return {"operations": [dataclasses.asdict(o) for o in operations], "notes": notes}


def _operations(graph: tf.Graph, tallies: dict[str, Tally]) -> Iterator[Operation]:
    """The operations; what each multiplies is left in `tallies` by its name."""
    for node in graph.get_operations():
        if node.type in _PLUMBING or (node.type in _SHAPING and _stored(node) is not None):
            continue
        constants = [_constant(node, place) for place in range(len(node.inputs))]
        found = tallies[node.name] = tally_of(node, free=True)
        first = node.outputs[0] if node.outputs else None
        yield Operation(
            name=node.name,
            type=node.type,
            macs=found.macs if found.terms else None,
            shape=_shape(first) if first is not None else (),
            dtype=first.dtype.name if first is not None else "",
            activation_bytes=sum(_bytes(tensor) for tensor in node.outputs),
            constants=tuple(c for c in constants if c is not None),
        )


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...]:
    return tuple(tensor.shape) if tensor.shape.rank is not None else ()


def _bytes(tensor: tf.Tensor) -> int:
    size = tensor.dtype.size or 0
    return math.prod(ones(tensor)) * size if tensor.shape.rank is not None else 0


def _constant(node: tf.Operation, place: int) -> Constant | None:
    """The stored numbers of an input, or None for activations, sizes and indices."""
    import tensorflow as tf

    source = _stored(node.inputs[place].op)
    if source is None or not source.outputs[0].dtype.is_floating:
        return None
    values = tf.make_ndarray(source.get_attr("value"))
    multiplies = node.type in FORMULAS and values.ndim > 1
    looked_up = node.type in _LOOKS_UP and place == 0 and values.ndim > 1
    return Constant(
        key=source.name,
        size=int(values.size),
        bytes=int(values.nbytes),
        dtype=source.outputs[0].dtype.name,
        zeros=int(np.count_nonzero(values == 0)),
        kernel=multiplies or looked_up,
    )


def _stored(node: tf.Operation) -> Any:
    """The constant that a node gives, in whatever shape; None where it is computed."""
    while node.type in _SHAPING:
        node = node.inputs[0].op
    return node if node.type == "Const" else None
