"""The end of a graph that an int8 file keeps in floats.

What joins or scales parts of very different ranges (boxes in pixels and scores of at most 1) can't
be rounded with one scale. In floats, each part comes from a scale of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

# Operators that only move, join or scale values. Bounded ones (Sigmoid, Softmax) end the tail:
# their scale is fixed, and right.
_TFLITE = frozenset(
    {
        "ADD", "BROADCAST_TO", "CAST", "CONCATENATION", "DEQUANTIZE", "DIV", "EXP", "EXPAND_DIMS",
        "GATHER", "LEAKY_RELU", "MAXIMUM", "MINIMUM", "MUL", "NEG", "PACK", "PAD", "PADV2", "POW",
        "QUANTIZE", "RELU", "RELU6", "RESHAPE", "SELECT_V2", "SLICE", "SPLIT", "SPLIT_V", "SQRT",
        "SQUARE", "SQUEEZE", "STRIDED_SLICE", "SUB", "TILE", "TRANSPOSE", "UNPACK",
    }
)  # fmt: skip
_ONNX = frozenset(
    {
        "Add", "Cast", "Clip", "Concat", "Div", "Exp", "Expand", "Flatten", "Gather", "Identity",
        "LeakyRelu", "Max", "Min", "Mul", "Neg", "Pad", "Pow", "Relu", "Reshape", "Slice", "Split",
        "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip


# The name of the model that computes features of sounds, which its operators' names hold.
SOUND_FRONT = "sound_front"


@dataclass(frozen=True)
class Step:
    """One operator of a graph.

    Attributes:
        kind: Its name.
        inputs: What it reads, by any key.
        outputs: What it makes.
    """

    kind: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def tail(
    steps: Sequence[Step], outputs: Iterable[Any], depth: int, moving: frozenset[str]
) -> list[Step]:
    """The steps at the end of a graph that stay in floats.

    Args:
        steps: The graph.
        outputs: What it gives.
        depth: 1 for the steps that only move, join or scale values, 2 also for what they read.
        moving: Names of such operators.
    """
    makers: Mapping[Any, Step] = {name: step for step in steps for name in step.outputs}
    found: dict[int, Step] = {}
    waiting = [makers[name] for name in outputs if name in makers]
    while waiting:
        step = waiting.pop()
        if id(step) in found or (step.kind not in moving and depth < 2):
            continue
        found[id(step)] = step
        if step.kind in moving:
            waiting += [makers[name] for name in step.inputs if name in makers]
    return list(found.values())


@dataclass(frozen=True)
class Tail:
    """What stays in floats: by the converter's names, and the operators."""

    names: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()


def tflite_tail(path: Path, depth: int) -> Tail:
    """The tensors of a float TFLite file that its int8 file keeps in floats.

    Raises:
        ValueError: There are none, or nothing would be left to quantise.
    """
    from edgepress.benchmarks.tflite.graph import read_graph

    graph = read_graph(path)
    steps = [Step(op.name, tuple(op.inputs), tuple(op.outputs)) for op in graph.operators]
    kept = _some(tail(steps, graph.outputs, depth, _TFLITE), steps, _TFLITE)
    names = (graph.tensors[index].name for step in kept for index in step.outputs)
    return Tail(tuple(names), tuple(s.kind for s in kept))


def tflite_head(path: Path) -> tuple[str, ...]:
    """The tensors of a float TFLite file that compute the features of sounds."""
    from edgepress.benchmarks.tflite.graph import read_graph

    graph = read_graph(path)
    made = (graph.tensors[index].name for op in graph.operators for index in op.outputs)
    return tuple(name for name in made if SOUND_FRONT in name)


def onnx_tail(model: onnx.ModelProto, depth: int) -> Tail:
    """The nodes of a float ONNX model that its int8 file keeps in floats.

    Args:
        model: The model; nodes without names get one.
        depth: As for `tail`.

    Raises:
        ValueError: There are none, or nothing would be left to quantise.
    """
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    nodes = {tuple(node.output): node.name for node in model.graph.node}
    steps = [Step(n.op_type, tuple(n.input), tuple(n.output)) for n in model.graph.node]
    kept = _some(tail(steps, [o.name for o in model.graph.output], depth, _ONNX), steps, _ONNX)
    return Tail(tuple(nodes[s.outputs] for s in kept), tuple(s.kind for s in kept))


def _some(kept: list[Step], steps: Sequence[Step], moving: frozenset[str]) -> list[Step]:
    if not kept:
        raise ValueError("the outputs are joined and scaled by nothing that could stay in floats")
    chosen = {id(step) for step in kept}
    if all(step.kind in moving or id(step) in chosen for step in steps):
        raise ValueError("with its end in floats no part of this graph would be int8")
    return kept


def note_of(operators: Sequence[str]) -> str:
    """What people are told of a file whose end stays in floats."""
    count = f"{len(operators)} operator{'s' if len(operators) > 1 else ''}"
    return (
        f"{count} at its end ({', '.join(sorted(set(operators)))}) in floats: with one int8 scale"
        " slices of an output would be lost"
    )
