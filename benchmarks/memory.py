"""Memory that a `.tflite` file needs for its activations, planned as TensorFlow Lite Micro does it.

The plan equals the `head` of TFLM's arena to the byte. Not in it: what kernels ask for as scratch,
TFLM's own structures (the arena's `tail`), and the workspace of LiteRT on a CPU, which is another
allocator and is measured as resident memory.

Source: GreedyMemoryPlanner of tensorflow/tflite-micro (greedy by size, first fit).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepress.benchmarks.tflite_file import TFLiteGraph, read_graph

_ALIGNMENT = 16


@dataclass(frozen=True)
class Buffer:
    """One activation in the arena, needed from operator `first` to operator `last`.

    Attributes:
        name: The tensor.
        size: Bytes, aligned.
        first: Position of the operator that makes it.
        last: Position of the last operator that reads it.
        offset: Where it lies, in bytes from the arena's begin.
    """

    name: str
    size: int
    first: int
    last: int
    offset: int


@dataclass(frozen=True)
class ArenaPlan:
    """Where every activation lies.

    Attributes:
        arena_bytes: Size of the arena: the end of the highest buffer.
        live_bytes: Most bytes alive at one time: no planner can do with less.
        unshared_bytes: Size if no memory were used twice.
        variable_bytes: State kept between inferences, outside the arena.
        buffers: The activations, largest first.
        warnings: What the plan can't see.
    """

    arena_bytes: int
    live_bytes: int
    unshared_bytes: int
    variable_bytes: int
    buffers: tuple[Buffer, ...]
    warnings: tuple[str, ...]


def plan_arena(path: Path | str) -> ArenaPlan:
    """Plan the arena of a `.tflite` file.

    Args:
        path: The file.

    Returns:
        The plan for the file's own batch size (1 where it is free).

    Raises:
        InputError: The file isn't a TensorFlow Lite model.
    """
    graph = read_graph(path)
    lives = _lifetimes(graph)
    order = sorted(lives, key=lambda i: (-_aligned(graph.tensors[i].bytes), -i))
    placed: list[Buffer] = []
    for index in order:
        tensor = graph.tensors[index]
        first, last = lives[index]
        size = _aligned(tensor.bytes)
        offset = _first_gap(size, (b for b in placed if b.first <= last and first <= b.last))
        placed.append(Buffer(tensor.name, size, first, last, offset))
    steps = range(len(graph.operators))
    return ArenaPlan(
        arena_bytes=max((b.offset + b.size for b in placed), default=0),
        live_bytes=max(
            (sum(b.size for b in placed if b.first <= t <= b.last) for t in steps), default=0
        ),
        unshared_bytes=sum(b.size for b in placed),
        variable_bytes=sum(t.bytes for t in graph.tensors if t.variable),
        buffers=tuple(placed),
        warnings=_warnings(graph),
    )


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _first_gap(size: int, neighbours: Iterable[Buffer]) -> int:
    """The lowest offset at which `size` bytes fit between the buffers alive at the same time."""
    offset = 0
    for buffer in sorted(neighbours, key=lambda b: b.offset):
        if buffer.offset - offset >= size:
            return offset
        offset = max(offset, buffer.offset + buffer.size)
    return offset


def _lifetimes(graph: TFLiteGraph) -> dict[int, tuple[int, int]]:
    """First and last operator that need each activation, by tensor."""
    end = len(graph.operators) - 1
    lives = {index: (0, 0) for index in graph.inputs}
    for step, operator in enumerate(graph.operators):
        for index in operator.outputs:
            lives.setdefault(index, (step, step))
        for index in operator.inputs:
            if index in lives:
                lives[index] = (lives[index][0], step)
    for index in graph.outputs:
        lives[index] = (lives.get(index, (0, 0))[0], end)
    kept = (i for i in lives if i >= 0 and not graph.tensors[i].constant)
    return {i: lives[i] for i in kept if not graph.tensors[i].variable and graph.tensors[i].bytes}


def _warnings(graph: TFLiteGraph) -> tuple[str, ...]:
    found = []
    if any(axis > 0 for tensor in graph.tensors for axis in tensor.free):
        found.append("sizes that are free, other than the batch, count as stored in the file")
    if graph.subgraphs > 1:
        found.append("control flow: only the main graph is planned")
    if any(t.type == "RESOURCE" for t in graph.tensors):
        found.append("resource variables are not counted")
    if any("LSTM" in name or name == "SVDF" for name in graph.operator_names):
        found.append("the scratch memory of recurrent kernels is not counted")
    return tuple(found)
