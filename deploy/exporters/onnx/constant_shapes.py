"""Shapes that an ONNX graph computes although it needn't: constants with one free size.

tf2onnx computes the shape of a Reshape from the shape of a tensor, with products of its sizes,
wherever the batch is free. Where all sizes but the batch are known, one constant says the same;
some compilers (IREE) read the arithmetic wrongly, without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.exporters.onnx.node_order import reads
from edgepress.deploy.exporters.onnx.session import quiet_session

if TYPE_CHECKING:
    import onnx

# Operators that make as many values as their input's values say.
_BY_VALUE = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})


def with_constant_shapes(
    model: onnx.ModelProto, samples: Mapping[str, NDArray[Any]]
) -> onnx.ModelProto | None:
    """A model whose Reshapes have constant shapes, where the batch alone is free.

    What the batch changes is seen by running two batches of different size.

    Args:
        model: An ONNX model.
        samples: At least two samples by input name, as the file takes them.

    Returns:
        A new model; None where there is nothing to change.
    """
    from onnx import numpy_helper

    if not _only_batch_is_free(model.graph):
        return None
    names = [node.output[0] for node in _computed_reshapes(model.graph)]
    shapes = _sizes(model, names, samples) if names else {}
    if not shapes:
        return None
    changed = type(model).FromString(model.SerializeToString())
    for node in _computed_reshapes(changed.graph):
        if node.output[0] in shapes:
            value = np.array(shapes[node.output[0]], np.int64)
            shape = numpy_helper.from_array(value, f"{node.output[0]}__shape")
            changed.graph.initializer.append(shape)
            node.input[1] = shape.name
    _drop_unread(changed.graph)
    return changed


def _only_batch_is_free(graph: onnx.GraphProto) -> bool:
    by_value = any(node.op_type in _BY_VALUE for node in graph.node)
    dims = [value.type.tensor_type.shape.dim for value in graph.input]
    return not by_value and all(d and all(size.dim_value for size in d[1:]) for d in dims)


def _computed_reshapes(graph: onnx.GraphProto) -> list[Any]:
    """Reshapes whose shape no initializer or constant gives."""
    fixed = {tensor.name for tensor in graph.initializer}
    fixed |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    return [n for n in graph.node if n.op_type == "Reshape" and n.input[1] not in fixed]


def _sizes(
    model: onnx.ModelProto, names: Sequence[str], samples: Mapping[str, NDArray[Any]]
) -> dict[str, list[int]]:
    """Sizes of tensors by name, -1 for the one that the batch changes; others are left out."""
    import onnx

    opened = type(model).FromString(model.SerializeToString())
    opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = quiet_session(opened)
    fixed = {value.name: value.type.tensor_type.shape.dim[0] for value in model.graph.input}
    if any(size.dim_value for size in fixed.values()):
        batches = [dict(samples)]
    else:
        batches = [{name: array[:count] for name, array in samples.items()} for count in (1, 2)]
    runs = [[a.shape for a in session.run(list(names), batch)] for batch in batches]
    found = {}
    for name, first, last in zip(names, runs[0], runs[-1], strict=True):
        sizes = [a if a == b else -1 for a, b in zip(first, last, strict=True)]
        if sizes.count(-1) <= 1 and 0 not in sizes:
            found[name] = sizes
    return found


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Leave out nodes and initializers that nothing reads."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(reads(node))
    nodes = [type(node).FromString(node.SerializeToString()) for node in reversed(kept)]
    tensors = [t for t in graph.initializer if t.name in needed]
    tensors = [type(t).FromString(t.SerializeToString()) for t in tensors]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
