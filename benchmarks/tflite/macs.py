"""Multiply-accumulates of TFLite operators, by the rules of `edgepress.compress.cost`.

Weights are [out, height, width, in] in convolutions, [1, height, width, out] in depthwise ones,
[depth, height, width, in, out] in those of volumes, [out, in] in fully connected layers and in
each gate of a recurrent one. A free size counts as 1; a fixed batch counts as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgepress.benchmarks.tflite.graph import Operator, TFLiteGraph

Shapes = Sequence[tuple[int, ...]]


def _convolution(given: Shapes, out: tuple[int, ...]) -> int:
    return math.prod(out) * math.prod(given[1][1:])


def _depthwise(given: Shapes, out: tuple[int, ...]) -> int:
    return math.prod(out) * math.prod(given[1][1:3])


def _volume(given: Shapes, out: tuple[int, ...]) -> int:
    return math.prod(out) * math.prod(given[1][:4])


def _dense(given: Shapes, out: tuple[int, ...]) -> int:
    return math.prod(out) * given[1][-1]


def _transposed(given: Shapes, _: tuple[int, ...]) -> int:
    return math.prod(given[2]) * math.prod(given[1][:3])


def _transposed_volume(given: Shapes, _: tuple[int, ...]) -> int:
    return math.prod(given[2]) * math.prod(given[1][:4])


def _product(given: Shapes, out: tuple[int, ...]) -> int:
    """Either factor may be stored transposed, so the inner size is what the rows leave."""
    return math.prod(out) * (given[0][-1] * given[0][-2] // max(out[-2], 1))


def _recurrent(given: Shapes, _: tuple[int, ...]) -> int:
    """Each matrix of weights once for each time step of each sample."""
    return math.prod(given[0][:-1]) * sum(math.prod(s) for s in given[1:] if len(s) == 2)


def _single_step(given: Shapes, _: tuple[int, ...]) -> int:
    return given[0][0] * sum(math.prod(s) for s in given[1:] if len(s) == 2)


def _filtered(given: Shapes, _: tuple[int, ...]) -> int:
    """SVDF: a filter over the features, then one over its own last outputs."""
    return given[0][0] * (math.prod(given[1]) + math.prod(given[2]))


FORMULAS: dict[str, Callable[[Shapes, tuple[int, ...]], int]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "CONV_3D": _volume,
    "CONV_3D_TRANSPOSE": _transposed_volume,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": _product,
    "SVDF": _filtered,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent,
    "LSTM": _single_step,
    "RNN": _single_step,
}


def operator_macs(graph: TFLiteGraph, operator: Operator) -> int | None:
    """Multiply-accumulates of an operator, or None for kinds that have none to speak of.

    Args:
        graph: The graph that it is in.
        operator: The operator.
    """
    formula = FORMULAS.get(operator.name)
    if formula is None:
        return None
    given = [graph.tensors[i].shape for i in operator.inputs if _holds_weights(graph, operator, i)]
    return formula(given, graph.tensors[operator.outputs[0]].shape)


def _holds_weights(graph: TFLiteGraph, operator: Operator, index: int) -> bool:
    """Whether a tensor counts: all but the state that recurrent operators keep."""
    return index >= 0 and (index == operator.inputs[0] or not graph.tensors[index].variable)
