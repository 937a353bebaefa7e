"""Counting the multiply-accumulates of a traced graph: what leads to its outputs, loops entered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgepress.compress.counting.loops import rounds
from edgepress.compress.counting.operations import (
    FORMULAS,
    operation_macs,
    why_uncounted,
)

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.python.framework.func_graph import FuncGraph

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
LOOPS = frozenset({"While", "StatelessWhile"})
BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
# What weights pass on their way to a product, each number kept.
_CARRYING = frozenset({
    "Cast", "ExpandDims", "Identity", "ReadVariableOp", "Reshape", "Squeeze", "Transpose",
    "BroadcastTo",
})  # fmt: skip


@dataclass(frozen=True)
class Term:
    """Multiply-accumulates of one operation.

    Attributes:
        macs: How many.
        weight: The capture of the graph that one factor is, by its place; None where both factors
            are activations.
        operation: Path of the operation.
    """

    macs: int
    weight: int | None
    operation: str


@dataclass(frozen=True)
class Doubt:
    """What of a graph can't be counted, and why."""

    operation: str
    reason: str

    def line(self) -> str:
        """It as one line, with where it is inside of the call."""
        _, _, place = self.operation.partition("/")
        return f"{place}: {self.reason}" if "/" in place else self.reason


@dataclass
class Tally:
    """What a graph multiplies.

    Attributes:
        terms: By operation.
        doubts: What can't be counted.
    """

    terms: list[Term] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all operations."""
        return sum(term.macs for term in self.terms)


@dataclass(frozen=True)
class _Scope:
    """A function's graph, and where it is called.

    Attributes:
        graph: The function's graph.
        call: The operation that runs it; None for the outermost.
        outer: The scope of that operation.
        path: Put before names.
        given: The tensors that it gets, in the order of its arguments.
    """

    graph: Any
    call: Any = None
    outer: _Scope | None = None
    path: str = ""
    given: Sequence[Any] = ()

    def within(self, node: tf.Operation, name: str, given: Sequence[tf.Tensor]) -> _Scope | None:
        """The scope of a function that an operation runs; None where its graph isn't kept."""
        graph = function_graph(node.graph, name)
        if graph is None:
            return None
        return _Scope(graph, node, self, f"{self.path}{node.name}/", given)


def function_graph(graph: FuncGraph, name: str) -> FuncGraph | None:
    """The graph of a function that a graph's operations run; None where it isn't kept."""
    while graph is not None:
        found = graph._functions.get(name)
        if found is not None:
            return found if hasattr(found, "outputs") else getattr(found, "graph", None)
        graph = getattr(graph, "outer_graph", None)
    return None


def tally(graph: FuncGraph, free: bool = False) -> Tally:
    """Count the multiply-accumulates of what leads to a graph's outputs.

    Args:
        graph: A `FuncGraph` with its outputs set.
        free: Whether its inputs leave sizes free, so that a size that isn't known is one of them
            and counts as 1.

    Returns:
        The account.
    """
    found = Tally()
    _add(found, _Scope(graph), 1, free)
    return found


def tally_of(node: tf.Operation, free: bool = False) -> Tally:
    """`tally` of one operation, with what it calls."""
    found = Tally()
    _add_one(found, _Scope(node.graph), node, 1, free)
    return found


def _live(graph: FuncGraph) -> list[tf.Operation]:
    """The operations that outputs depend on, in the order in which they were made."""
    waiting = [tensor.op for tensor in graph.outputs if tensor.graph is graph]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            waiting += [tensor.op for tensor in node.inputs]
    return [node for node in graph.get_operations() if id(node) in seen]


def _add(found: Tally, scope: _Scope, times: int, free: bool) -> None:
    for node in _live(scope.graph):
        _add_one(found, scope, node, times, free)


def _add_one(found: Tally, scope: _Scope, node: tf.Operation, times: int, free: bool) -> None:
    if node.type in CALLS:
        _enter(found, scope, node, times, free)
    elif node.type in LOOPS:
        _loop(found, scope, node, times, free)
    elif node.type in BRANCHES:
        _branch(found, scope, node, times, free)
    elif reason := why_uncounted(node.type):
        found.doubts.append(Doubt(scope.path + node.name, f"{node.type} {reason}"))
    elif node.type in FORMULAS:
        _multiply(found, scope, node, times, free)


def _multiply(found: Tally, scope: _Scope, node: tf.Operation, times: int, free: bool) -> None:
    macs = operation_macs(node)
    if node.type == "Sum" and macs is None:
        return
    tensors = [*node.inputs, *node.outputs]
    open_sizes = any(t.shape.rank is None or None in t.shape for t in tensors)
    if macs is None and node.type == "Einsum" and len(node.inputs) == 1:
        return
    if macs is None or (open_sizes and not free):
        reason = f"the sizes of {node.type} depend on the data"
        found.doubts.append(Doubt(scope.path + node.name, reason))
        return
    sources = [s for t in node.inputs if (s := _source(scope, t)) is not None]
    weight = sources[0] if len(sources) == 1 else None
    found.terms.append(Term(macs * times, weight, scope.path + node.name))


def _source(scope: _Scope, tensor: tf.Tensor) -> int | None:
    """The capture of the outermost graph that a tensor is, in whatever shape."""
    while tensor.op.type in _CARRYING:
        tensor = tensor.op.inputs[0]
    if scope.outer is None:
        captured = (i for i, (_, inner) in enumerate(scope.graph.captures) if inner is tensor)
        return next(captured, None)
    for place, argument in enumerate(scope.graph.inputs):
        if argument is tensor and place < len(scope.given):
            return _source(scope.outer, scope.given[place])
    return None


def _enter(found: Tally, scope: _Scope, node: tf.Operation, times: int, free: bool) -> None:
    inner = scope.within(node, node.get_attr("f").name, list(node.inputs))
    if inner is None:
        reason = "the function that it calls has no graph here"
        found.doubts.append(Doubt(scope.path + node.name, reason))
        return
    _add(found, inner, times, free or _is_general(inner))


def _is_general(scope: _Scope) -> bool:
    """Whether a function was traced for any size where it is called with sizes of 1."""
    sizes = [
        given_size
        for argument, given in zip(scope.graph.inputs, scope.given, strict=False)
        if argument.shape.rank is not None and argument.shape.rank == given.shape.rank
        for size, given_size in zip(argument.shape, given.shape, strict=True)
        if size is None
    ]
    return bool(sizes) and all(size == 1 for size in sizes)


def _loop(found: Tally, scope: _Scope, node: tf.Operation, times: int, free: bool) -> None:
    given = list(node.inputs)
    body = scope.within(node, node.get_attr("body").name, given)
    cond = scope.within(node, node.get_attr("cond").name, given)
    count = None if body is None or cond is None else rounds(node, cond.graph, body.graph, free)
    once = Tally()
    if body is not None:
        _add(once, body, times, free)
    if count is None:
        if once.terms or once.doubts or body is None:
            reason = "loops until the data ends it: one round is counted"
            once.doubts.append(Doubt(scope.path + node.name, reason))
        count = 1
    found.terms += [Term(t.macs * count, t.weight, t.operation) for t in once.terms]
    found.doubts += once.doubts


def _branch(found: Tally, scope: _Scope, node: tf.Operation, times: int, free: bool) -> None:
    tallies = []
    for name in _branches(node):
        inner = scope.within(node, name, list(node.inputs)[1:])
        part = Tally()
        if inner is None:
            part.doubts.append(Doubt(scope.path + node.name, "a branch of it has no graph here"))
        else:
            _add(part, inner, times, free)
        tallies.append(part)
    largest = max(tallies, key=lambda part: part.macs)
    found.terms += largest.terms
    found.doubts += [doubt for part in tallies for doubt in part.doubts]
    if len({part.macs for part in tallies}) > 1:
        reason = "runs one of its branches, as the data has it: the largest is counted"
        found.doubts.append(Doubt(scope.path + node.name, reason))


def _branches(node: tf.Operation) -> Iterator[str]:
    if node.type.endswith("Case"):
        yield from (function.name for function in node.get_attr("branches"))
        return
    yield from (node.get_attr(key).name for key in ("then_branch", "else_branch"))
