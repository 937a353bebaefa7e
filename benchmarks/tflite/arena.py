"""Memory that a `.tflite` file needs for its activations, planned as TensorFlow Lite Micro does it.

The plan equals the `head` of TFLM's arena to the byte; what a plan in the file (metadata
`OfflineMemoryAllocation`) gives a place keeps it. Not in it: what recurrent kernels ask for as
scratch, TFLM's own structures (the arena's `tail`), and the workspace of LiteRT on a CPU, which is
another allocator and is measured as resident memory.

Source: GreedyMemoryPlanner of tensorflow/tflite-micro (greedy by size, first fit).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress.benchmarks.tflite.graph import Operator, Tensor, TFLiteGraph, read_graph

_ALIGNMENT = 16


@dataclass(frozen=True)
class Need:
    """Memory that is needed from operator `first` to operator `last`.

    Attributes:
        tensor: The activation's position in the file; -1 for what a kernel asks for.
        name: Its name.
        size: Bytes, aligned.
        first: Position of the operator that makes it.
        last: Position of the last operator that reads it.
    """

    tensor: int
    name: str
    size: int
    first: int
    last: int


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
        live_bytes: Most bytes alive at one time: with this order of operators no planner can do
            with less.
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
    """Plan the arena of a graph; tensors that a plan in the file gives a place keep it."""
    wanted = needs(graph)
    given = {i: offset for i, offset in enumerate(graph.plan) if offset >= 0}
    placed = [
        Buffer(n.name, n.size, n.first, n.last, given[n.tensor])
        for n in wanted
        if n.tensor in given
    ]
    # TFLM fills its list from the end: of equal sizes the last comes first.
    for need in sorted(reversed(wanted), key=lambda need: -need.size):
        if need.tensor in given:
            continue
        neighbours = (b for b in placed if b.first <= need.last and need.first <= b.last)
        offset = _first_gap(need.size, neighbours)
        placed.append(Buffer(need.name, need.size, need.first, need.last, offset))
    return ArenaPlan(
        arena_bytes=max((b.offset + b.size for b in placed), default=0),
        live_bytes=most_alive(wanted),
        unshared_bytes=sum(b.size for b in placed),
        variable_bytes=sum(t.bytes for t in graph.tensors if t.variable),
        buffers=tuple(sorted(placed, key=lambda buffer: -buffer.size)),
        warnings=_warnings(graph),
    )


def needs(graph: TFLiteGraph) -> list[Need]:
    """What a graph needs in the arena, and when."""
    lives = _lifetimes(graph)
    tensors = graph.tensors
    found = [Need(i, tensors[i].name, aligned(tensors[i].bytes), *lives[i]) for i in sorted(lives)]
    for step, operator in enumerate(graph.operators):
        if size := scratch_bytes(operator, graph):
            name = f"{tensors[operator.outputs[0]].name} (sums)"
            found.append(Need(-1, name, size, step, step))
    return found


def most_alive(wanted: Sequence[Need]) -> int:
    """Most bytes alive at one time."""
    changes: dict[int, int] = {}
    for need in wanted:
        changes[need.first] = changes.get(need.first, 0) + need.size
        changes[need.last + 1] = changes.get(need.last + 1, 0) - need.size
    alive = most = 0
    for step in sorted(changes):
        alive += changes[step]
        most = max(most, alive)
    return most


def aligned(size: int) -> int:
    """Bytes that a buffer of a size takes."""
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
    return {i: lives[i] for i in lives if i >= 0 and is_activation(graph.tensors[i])}


def is_activation(tensor: Tensor) -> bool:
    """Whether a tensor lies in the arena while it is needed."""
    return not tensor.constant and not tensor.variable and tensor.bytes > 0


def scratch_bytes(operator: Operator, graph: TFLiteGraph) -> int:
    """What an operator's kernel asks for while it runs, aligned.

    Transposed convolutions of integers add up in 32 bits, those of 16-bit values in 64.
    """
    if operator.name != "TRANSPOSE_CONV":
        return 0
    output = graph.tensors[operator.outputs[0]]
    return aligned(4 * output.bytes) if output.type in ("INT8", "INT16") else 0


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
