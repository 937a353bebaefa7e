"""In which order operators run, so that little has to be kept at one time.

A graph with branches can be run branch by branch, or side by side; what waits meanwhile takes
memory. The search goes on from a few of the best beginnings at a time (a beam), each a set of
operators that have run, and ends with an order of all.

Source: Ahn et al., "Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural Networks
for Edge Devices" (MLSys 2020, arXiv:2003.02369), with a beam where that goes through all sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepress.benchmarks.tflite.arena import aligned, is_activation, scratch_bytes
from edgepress.benchmarks.tflite.graph import TFLiteGraph

# Beginnings that are followed at a time, fewer in a large graph.
_WORK = 6_000
_FEWEST, _MOST = 4, 32
# Operators that act on something else than the tensors that they give.
_ACTING = ("ASSIGN", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE", "HASHTABLE", "SVDF", "SEQUENCE",
           "LSTM", "RANDOM", "MULTINOMIAL", "WHILE", "IF", "STABLEHLO")  # fmt: skip


@dataclass(frozen=True)
class _Begun:
    """A set of operators that have run.

    Attributes:
        done: The set, as bits.
        ready: Those that can run next.
        peak: Most bytes alive until then.
        alive: Bytes alive now.
        step: The last of them; -1 at the beginning.
        before: What had run before it.
    """

    done: int
    ready: tuple[int, ...]
    peak: int
    alive: int
    step: int = -1
    before: _Begun | None = None

    def order(self) -> tuple[int, ...]:
        """The operators that have run, in their order."""
        found, at = [], self
        while at.before is not None:
            found.append(at.step)
            at = at.before
        return tuple(reversed(found))


class _Graph:
    """What the search asks of a graph, by the positions of operators and tensors."""

    def __init__(self, graph: TFLiteGraph) -> None:
        steps = range(len(graph.operators))
        maker = {t: step for step in steps for t in graph.operators[step].outputs}
        read = [{t for t in op.inputs if t >= 0} for op in graph.operators]
        before = [{maker[t] for t in read[step] if t in maker} for step in steps]
        self.size = {t.index: aligned(t.bytes) for t in graph.tensors if is_activation(t)}
        self.before = [_bits(found) for found in before]
        self.after = [[step for step in steps if own in before[step]] for own in steps]
        self.made = [[t for t in set(op.outputs) if t in self.size] for op in graph.operators]
        self.touched = [
            [t for t in {*read[step], *graph.operators[step].outputs} if t in self.size]
            for step in steps
        ]
        self.readers = {t: _bits(s for s in steps if t in read[s]) for t in self.size}
        # What the caller reads is never done with.
        for tensor in graph.outputs:
            self.readers[tensor] = 1 << len(steps)
        self.scratch = [scratch_bytes(op, graph) for op in graph.operators]
        self.given = sum(self.size.get(t, 0) for t in set(graph.inputs))

    def begin(self) -> _Begun:
        """Nothing has run."""
        ready = tuple(step for step, bits in enumerate(self.before) if not bits)
        return _Begun(0, ready, self.given, self.given)

    def run(self, begun: _Begun, step: int) -> _Begun:
        """One operator more has run."""
        alive = begun.alive + sum(self.size[t] for t in self.made[step])
        peak = max(begun.peak, alive + self.scratch[step])
        done = begun.done | 1 << step
        alive -= sum(self.size[t] for t in self.touched[step] if not self.readers[t] & ~done)
        freed = (s for s in self.after[step] if self.before[s] & done == self.before[s])
        ready = (*(s for s in begun.ready if s != step), *freed)
        return _Begun(done, ready, peak, alive, step, begun)


def search_order(graph: TFLiteGraph) -> tuple[int, ...]:
    """An order of a graph's operators that keeps little alive at one time.

    Args:
        graph: The graph. Where operators act on more than their outputs, it keeps its order.

    Returns:
        Positions of the operators as they run, each behind all that it reads.
    """
    count = len(graph.operators)
    if _acts(graph):
        return tuple(range(count))
    asked = _Graph(graph)
    width = max(_FEWEST, min(_MOST, _WORK // max(count, 1)))
    beam = [asked.begin()]
    for _ in range(count):
        found: dict[int, _Begun] = {}
        for new in _continued(asked, beam):
            old = found.get(new.done)
            if old is None or _rank(new) < _rank(old):
                found[new.done] = new
        beam = sorted(found.values(), key=_rank)[:width]
    return beam[0].order()


def _continued(asked: _Graph, beam: list[_Begun]) -> Iterator[_Begun]:
    for begun in beam:
        for step in begun.ready:
            yield asked.run(begun, step)


def _rank(begun: _Begun) -> tuple[int, int, int]:
    # Of equals, what comes first in the file.
    return begun.peak, begun.alive, begun.step


def _acts(graph: TFLiteGraph) -> bool:
    return (
        graph.subgraphs > 1
        or any(tensor.variable for tensor in graph.tensors)
        or any(word in name for name in graph.operator_names for word in _ACTING)
    )


def _bits(positions: Iterator[int] | set[int]) -> int:
    return sum(1 << position for position in positions)
