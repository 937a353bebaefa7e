"""tf2onnx with few copies of a network's weights, the right graph, and the same from each run.

All of it was seen in tf2onnx 1.17.0, and each patch goes when a release does by itself what its
comment says; `tests/deploy/exporters/test_tf2onnx_patches.py` and
`findings/tf2onnx-same-function-other-bytes.sh` show it.
"""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tf2onnx.graph import Node as GraphNode

_LARGE = 250_000  # numbers: a weight
_HEAVY = 100_000_000  # bytes: a graph whose copies a laptop would feel


@contextmanager
def patched_tf2onnx() -> Iterator[None]:
    """Let tf2onnx convert correctly and in one order, with few copies of the weights."""
    from tf2onnx import optimizer, tf_loader, utils
    from tf2onnx.graph import Node
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    replacements = (
        # It numbers names on from conversion to conversion
        # (https://github.com/onnx/tensorflow-onnx/issues/2006, open).
        (utils, "INTERNAL_NAME", 1),
        # A pass copies the graph, weights and all, before it looks at it. Of the memory that this
        # takes there is no open issue.
        (optimizer, "copy", SimpleNamespace(deepcopy=_light_copy)),
        (Node, "update_proto", _without_weights(Node.update_proto)),
        # It goes through sets of nodes, whose order is that of the nodes in memory. The worker
        # that this runs in gives the same text the same hash each time. The same issue 2006.
        (Node, "__hash__", lambda node: hash(node.name)),
        # It makes a Reshape of a Transpose that only moves sizes of 1, to a shape that may be out
        # of date: on maps of 1 x 1 a normalisation then takes its mean over something else.
        # Runtimes know such a Transpose themselves. A wrong shape there is also what stops the pass
        # in https://github.com/onnx/tensorflow-onnx/issues/1729 (open).
        (TransposeOptimizer, "post_optimize_action", lambda _: None),
        (tf_loader, "tf_optimize_grappler", _weights_aside(tf_loader.tf_optimize_grappler)),
    )
    # What is there before needn't be looked through each time. In a converter's process it isn't.
    whole = not gc.get_freeze_count()
    if whole:
        gc.freeze()
    try:
        with ExitStack() as patches:
            for owner, name, replacement in replacements:
                patches.enter_context(mock.patch.object(owner, name, replacement))
            yield
    finally:
        if whole:
            gc.unfreeze()
        gc.collect()


def _light_copy(graph: Any) -> Any:
    """What a pass of tf2onnx's optimizer copies beforehand: the graph, with the same weights.

    A pass that changes a weight makes a new tensor of it.
    """
    gc.collect()  # Copies are cycles, which Python collects late.
    known = {}
    for node in graph.get_nodes() if hasattr(graph, "get_nodes") else ():
        if _is_weight(node):
            bare = type(node.op)(name=node.op.name, op_type=node.op.op_type, output=node.output)
            known[id(node.op)] = bare
            known[id(node.attr["value"])] = node.attr["value"]
    return copy.deepcopy(graph, known)


def _without_weights(update: Callable[..., None]) -> Callable[..., None]:
    """Let nodes write themselves down but for weights, which are only read where they are kept."""

    def light(node: GraphNode, *args: Any, **kwargs: Any) -> None:
        if not _is_weight(node):
            update(node, *args, **kwargs)

    return light


def _is_weight(node: GraphNode) -> bool:
    return node.is_const() and math.prod(node.attr["value"].t.dims) >= _LARGE


def _weights_aside(optimize: Callable[..., Any]) -> Callable[..., Any]:
    """Let TensorFlow's graph optimizer, which makes some ten copies, have a graph without weights.

    A heavy one's: that the optimizer computes ahead with weights is worth having.
    """

    def light(inputs: Sequence[str], outputs: Sequence[str], graph: GraphDef) -> GraphDef:
        if graph.ByteSize() < _HEAVY:
            return optimize(inputs, outputs, graph)
        aside = _take_weights(graph)
        graph = optimize(inputs, outputs, graph)
        _put_back(graph, aside)
        return graph

    return light


def _take_weights(graph: GraphDef) -> dict[str, Any]:
    """Make placeholders of a GraphDef's large constants; their tensors by name."""
    aside = {}
    for node in graph.node:
        if node.op != "Const":
            continue
        shape = node.attr["value"].tensor.tensor_shape
        if math.prod(dim.size for dim in shape.dim) < _LARGE:
            continue
        tensor = copy.deepcopy(node.attr["value"].tensor)
        del node.attr["value"]
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
        aside[node.name] = tensor
    return aside


def _put_back(graph: GraphDef, aside: dict[str, Any]) -> None:
    """Make the large constants of what became placeholders."""
    for node in graph.node:
        if node.name in aside:
            del node.attr["shape"]
            node.op = "Const"
            node.attr["value"].tensor.CopyFrom(aside.pop(node.name))
