"""TFLite files that bring their memory plan along, for TensorFlow Lite Micro.

TFLM lays activations largest first, which leaves gaps. A plan in the file says where each lies, and
the operators stand in an order that keeps less alive at a time; every output stays the same bit for
bit. What kernels ask for as scratch memory (recurrent layers, CMSIS-NN) isn't in the plan: TFLM
lays that around it.

Source: docs/memory_management.md of tensorflow/tflite-micro.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgepress.benchmarks.tflite.arena import needs, plan_graph
from edgepress.benchmarks.tflite.graph import (
    MEMORY_PLAN,
    TFLiteGraph,
    add_metadata,
    packed,
    read_graph,
)
from edgepress.benchmarks.tflite.planning.offsets import search_offsets
from edgepress.benchmarks.tflite.planning.order import search_order
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output

# The first word of a plan; the number of the graph, that of its tensors and the offsets follow.
_VERSION = 1
# More isn't unpacked from an archive behind a model, which holds labels and vocabularies.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class MemoryPlan:
    """What a plan in a file saves.

    Attributes:
        arena_bytes: Activations with it, in bytes.
        before_bytes: Activations as TFLM lays them out by itself.
        live_bytes: Most bytes alive at one time: with this order of operators none can do with
            less.
        order: Positions of the operators before, as they run now.
        offsets: Where each tensor lies, -1 for any place; empty where TFLM's own plan is as good.
    """

    arena_bytes: int
    before_bytes: int
    live_bytes: int
    order: tuple[int, ...]
    offsets: tuple[int, ...]

    @property
    def pays(self) -> bool:
        """Whether the arena gets smaller."""
        return self.arena_bytes < self.before_bytes

    def line(self) -> str:
        """The plan in a line."""
        least = "" if self.arena_bytes > self.live_bytes else ", the least for their order"
        return (
            f"memory plan in the file: activations take {self.arena_bytes} bytes of TFLM's arena"
            f"{least}; TFLM's own plan of them {self.before_bytes}"
        )


def search_plan(graph: TFLiteGraph) -> MemoryPlan:
    """The smallest arena that was found for a graph.

    Args:
        graph: The main graph of a file. With control flow, or free sizes but the batch, it
            stays as it is.

    Returns:
        The plan; of equal ones that which changes least.
    """
    unplanned = replace(graph, plan=())
    kept = tuple(range(len(graph.operators)))
    before = plan_graph(graph)
    arena, least = before.arena_bytes, before.live_bytes
    found = [MemoryPlan(arena, arena, least, kept, graph.plan)]
    free = any(axis > 0 for tensor in graph.tensors for axis in tensor.free)
    if graph.subgraphs > 1 or free:
        return found[0]
    for layout in _layouts(unplanned):
        ordered = _ordered(unplanned, layout.order)
        for plan in ((), layout.offsets):
            new = plan_graph(replace(ordered, plan=plan))
            found.append(MemoryPlan(new.arena_bytes, arena, new.live_bytes, layout.order, plan))
    return min(found, key=lambda plan: plan.arena_bytes)


@dataclass(frozen=True)
class Layout:
    """Where a graph's activations lie.

    Attributes:
        order: Positions of the operators before, as they run.
        offsets: Where each tensor lies, -1 for what isn't in the arena.
        arena_bytes: Size of the arena.
    """

    order: tuple[int, ...]
    offsets: tuple[int, ...]
    arena_bytes: int


def search_layout(graph: TFLiteGraph) -> Layout:
    """The smallest arena that was found for a graph, with a place for each of its activations.

    Args:
        graph: The main graph of a file, all sizes known and without control flow.
    """
    return min(_layouts(graph), key=lambda layout: layout.arena_bytes)


def _layouts(graph: TFLiteGraph) -> Iterator[Layout]:
    """A layout for the order in the file, and for the one that keeps least alive at a time."""
    kept = tuple(range(len(graph.operators)))
    for order in dict.fromkeys((kept, search_order(graph))):
        wanted = needs(_ordered(graph, order))
        offsets, arena = [-1] * len(graph.tensors), 0
        for need, offset in zip(wanted, search_offsets(wanted), strict=True):
            arena = max(arena, offset + need.size)
            if need.tensor >= 0:
                offsets[need.tensor] = offset
        yield Layout(order, tuple(offsets), arena)


def _ordered(graph: TFLiteGraph, order: Sequence[int]) -> TFLiteGraph:
    return replace(graph, operators=tuple(graph.operators[i] for i in order))


def plan_memory(path: Path) -> MemoryPlan:
    """Give a TFLite file the memory plan that was found for it, if its arena gets smaller so.

    Args:
        path: A TFLite file, rewritten; its outputs stay bit for bit.

    Returns:
        The plan.

    Raises:
        InputError: The file isn't a TensorFlow Lite model, or the archive behind it is too large.
    """
    plan = search_plan(read_graph(path))
    if plan.pays:
        content = _with_plan(path.read_bytes(), plan)
        with atomic_output(path, force=True) as written:
            written.write_bytes(content)
    return plan


def _with_plan(content: bytes, plan: MemoryPlan) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    graph.operators = [graph.operators[i] for i in plan.order]
    others = [entry for entry in model.metadata or () if entry.name != MEMORY_PLAN.encode()]
    model.metadata = others or None
    if plan.offsets:
        words = np.array([_VERSION, 0, len(plan.offsets), *plan.offsets], "<i4")
        add_metadata(model, MEMORY_PLAN, words.view(np.uint8))
    return _with_files_of(content, packed(model, len(content), share=True))


def _with_files_of(content: bytes, changed: bytes) -> bytes:
    """A changed file with what lies behind the old one: an archive of labels and the like."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return changed
    written = io.BytesIO(changed)
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        if sum(entry.file_size for entry in old.infolist()) > _MOST_BYTES:
            raise InputError("the archive behind the model unpacks to more than 64 MiB")
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "a") as new:
        for entry in old.infolist():
            new.writestr(entry, old.read(entry))
    return written.getvalue()
