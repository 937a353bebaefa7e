"""Memory that TensorFlow Lite Micro takes for itself beside a model's activations.

TFLM's arena has two parts. The `head` holds activations; `memory` plans it to the byte. The `tail`
holds structures that stay: one for each tensor and each operator, what each kernel keeps (for
convolutions a multiplier and a shift for each output channel), and the interpreter's own. It is
added up here from the sizes that TFLM's recording allocator reports on a 64-bit machine, one kernel
at a time. Pointers on a microcontroller have half the size, so its tail is smaller.

Source: RecordingMicroAllocator of tensorflow/tflite-micro, build of October 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepress.benchmarks.tflite.arena import plan_graph
from edgepress.benchmarks.tflite.graph import Operator, TFLiteGraph, read_graph

_TENSOR, _OPERATOR, _PORT, _PORT_SCALE = 24, 64, 64, 32
# The interpreter's own: once, and for each operator after the first (alignment, bookkeeping).
_ONCE, _EACH = 488 + 16, 28
# What the kernels keep, apart from channels.
_KERNEL = {
    "ADD": 60, "AVERAGE_POOL_2D": 32, "CONCATENATION": 88, "CONV_2D": 80, "DEPTHWISE_CONV_2D": 80,
    "FULLY_CONNECTED": 72, "LEAKY_RELU": 24, "LOGISTIC": 16, "MAX_POOL_2D": 32, "MEAN": 44,
    "MUL": 44, "PAD": 56, "RELU": 28, "RELU6": 8, "RESHAPE": 0, "SOFTMAX": 80, "SUB": 60,
    "TANH": 16, "TRANSPOSE_CONV": 88,
}  # fmt: skip
_UNKNOWN_KERNEL = 64
_BY_CHANNEL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
_CHANNEL = 8
# A softmax of 16 bits keeps the exponential and the reciprocal as 513 values of 2 bytes each.
_TABLES = 2 * 513 * 2


@dataclass(frozen=True)
class MicroMemory:
    """The parts of TFLM's arena, in bytes.

    Attributes:
        activations: The head, as planned.
        tensors: A structure for each tensor, and larger ones for inputs and outputs.
        operators: A structure for each operator.
        kernels: What kernels keep.
        interpreter: TFLM's own.
        guessed: Operators whose kernels' size isn't known here; each counts as 64 bytes.
        warnings: What the plan of the activations can't see.
    """

    activations: int
    tensors: int
    operators: int
    kernels: int
    interpreter: int
    guessed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def structures(self) -> int:
        """The tail."""
        return self.tensors + self.operators + self.kernels + self.interpreter

    @property
    def total(self) -> int:
        """The whole arena."""
        return self.activations + self.structures


def plan_micro(path: Path | str) -> MicroMemory:
    """Plan the whole arena of a `.tflite` file in TensorFlow Lite Micro, without running it.

    Args:
        path: The file.

    Returns:
        The parts; on a 64-bit machine, so more than a microcontroller needs.

    Raises:
        InputError: The file isn't a TensorFlow Lite model.
    """
    graph = read_graph(path)
    plan = plan_graph(graph)
    ports = (*graph.inputs, *graph.outputs)
    return MicroMemory(
        activations=plan.arena_bytes,
        tensors=_TENSOR * len(graph.tensors)
        + sum(_PORT + (_PORT_SCALE if graph.tensors[i].scales else 0) for i in ports),
        operators=_OPERATOR * len(graph.operators),
        kernels=sum(_kernel(operator, graph) for operator in graph.operators),
        interpreter=_ONCE + _EACH * max(len(graph.operators) - 1, 0),
        guessed=tuple(name for name in graph.operator_names if name not in _KERNEL),
        warnings=plan.warnings,
    )


def _kernel(operator: Operator, graph: TFLiteGraph) -> int:
    size = _KERNEL.get(operator.name, _UNKNOWN_KERNEL)
    if operator.name == "SOFTMAX" and graph.tensors[operator.inputs[0]].type == "INT16":
        size += _TABLES
    if operator.name in _BY_CHANNEL:
        return size + _CHANNEL * graph.tensors[operator.outputs[0]].shape[-1]
    if operator.name == "FULLY_CONNECTED":
        scales = graph.tensors[operator.inputs[1]].scales
        return size + (_CHANNEL * scales if scales > 1 else 0)
    return size
