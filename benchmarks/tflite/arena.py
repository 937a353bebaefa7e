"""Memory that a `.tflite` file needs for its activations, planned as TensorFlow Lite Micro does it.

The plan equals the `head` of TFLM's arena to the byte. Not in it: what recurrent kernels ask for as
scratch, TFLM's own structures (the arena's `tail`), and the workspace of LiteRT on a CPU, which is
another allocator and is measured as resident memory.

Source: GreedyMemoryPlanner of tensorflow/tflite-micro (greedy by size, first fit).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepress.benchmarks.tflite.graph import TFLiteGraph, read_graph

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

    def at_batch(self, batch: int | None) -> int | None:
        """The arena's size where a batch is the one that was planned, else None."""
        return self.arena_bytes if batch in (None, 1) else None


def plan_arena(path: Path | str) -> ArenaPlan:
    """Plan the arena of a `.tflite` file.

    Args:
        path: The file.

    Returns:
        The plan for the file's own batch size (1 where it is free).

    Raises:
        InputError: The file isn't a TensorFlow Lite model.
    """
    return plan_graph(read_graph(path))


def plan_graph(graph: TFLiteGraph) -> ArenaPlan:
    """Plan the arena of a graph."""
    lives = _lifetimes(graph)
    wanted = [(graph.tensors[i].name, graph.tensors[i].bytes, *lives[i]) for i in sorted(lives)]
    wanted += _scratch(graph)
    placed: list[Buffer] = []
    # TFLM fills its list from the end: of equal sizes the last comes first.
    for name, size, first, last in sorted(reversed(wanted), key=lambda w: -_aligned(w[1])):
        neighbours = (b for b in placed if b.first <= last and first <= b.last)
        offset = _first_gap(_aligned(size), neighbours)
        placed.append(Buffer(name, _aligned(size), first, last, offset))
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


def _scratch(graph: TFLiteGraph) -> list[tuple[str, int, int, int]]:
    """What kernels ask for while they run: name, bytes, first and last operator.

    Transposed convolutions of integers add up in 32 bits, those of 16-bit values in 64.
    """
    found = []
    for step, operator in enumerate(graph.operators):
        if operator.name == "TRANSPOSE_CONV":
            output = graph.tensors[operator.outputs[0]]
            if output.type in ("INT8", "INT16"):
                found.append((f"{output.name} (sums)", 4 * output.bytes, step, step))
    return found


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
