"""Operators of one or two operands, number by number, and what adds numbers up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.exporters.c_standalone.arithmetic import (
    exponentials,
    limits,
    mean_multiplier,
    multiplier_of,
)
from edgepress.deploy.exporters.c_standalone.network import Step, Value
from edgepress.deploy.exporters.c_standalone.options import activation_of
from edgepress.deploy.exporters.c_standalone.program import Program, walked
from edgepress.deploy.exporters.exporter import Unsupported

_SUMS = frozenset({"ADD", "SUB"})
_BITS = 20  # that sums have behind the point


def pair(program: Program, step: Step) -> None:
    """Two operands; each may be repeated along axes of the other."""
    given, made = (step.given(0), step.given(1)), step.outputs[0]
    views = [np.broadcast_to(np.empty(value.shape, np.int8), made.shape) for value in given]
    sizes, steps = walked(*views)
    fields: dict[str, str | int] = {
        "rows": int(np.prod(sizes[:-1], dtype=np.int64)),
        "length": sizes[-1],
        "a_step": steps[0][-1],
        "b_step": steps[1][-1],
        "a": program.view(sizes[:-1], steps[0][:-1]),
        "b": program.view(sizes[:-1], steps[1][:-1]),
        **_scales(step, *given, made),
    }
    record = program.record("pair", fields)
    program.call(step.kind.lower(), record, *map(program.pointer, (*given, made)))


def _scales(step: Step, a: Value, b: Value, made: Value) -> dict[str, int]:
    """How two operands are brought to one scale, and their result to that of the output."""
    if step.kind not in _SUMS and step.kind != "MUL":
        return {}
    low, high = limits(activation_of(step), made.scale, made.zero_point)
    found = {
        "a_offset": -a.zero_point,
        "b_offset": -b.zero_point,
        "out_offset": made.zero_point,
        "low": low,
        "high": high,
    }
    if step.kind == "MUL":
        # The kernel computes this in floats of 32 bits.
        factors = {"out": float(np.float32(np.float32(a.scale * b.scale) / made.scale))}
    else:
        most = 2 * float(max(a.scale, b.scale))
        factors = {
            "a": float(a.scale) / most,
            "b": float(b.scale) / most,
            "out": most / ((1 << _BITS) * float(made.scale)),
        }
    for name, factor in factors.items():
        found[f"{name}_multiplier"], found[f"{name}_shift"] = multiplier_of(factor)
    return found


def mean(program: Program, step: Step) -> None:
    """The mean along axes."""
    given, made = step.given(0), step.outputs[0]
    rank = len(given.shape)
    reduced = sorted({int(axis) % rank for axis in step.constant(1).ravel()})
    kept = [axis for axis in range(rank) if axis not in reduced]
    numbers = np.empty(given.shape, np.int8)
    # An axis of which one element is left is none to walk along.
    sizes, (steps,) = walked(_first(numbers, reduced))
    terms, (apart,) = walked(_first(numbers, kept))
    count = int(np.prod([given.shape[axis] for axis in reduced], dtype=np.int64))
    multiplier, shift = mean_multiplier(float(given.scale) / float(made.scale), count)
    fields: dict[str, str | int] = {
        "count": made.size,
        "terms": count,
        "offset": -given.zero_point * count,
        "multiplier": multiplier,
        "shift": shift,
        "out_offset": made.zero_point,
        "kept": program.view(sizes, steps),
        "reduced": program.view(terms, apart),
    }
    record = program.record("mean", fields)
    program.call("mean", record, program.pointer(given), program.pointer(made))


def _first(numbers: NDArray[np.int8], axes: Sequence[int]) -> NDArray[np.int8]:
    """The first elements along axes."""
    parts = [slice(0, 1 if a in axes else None) for a in range(numbers.ndim)]
    return numbers[tuple(parts)]


def softmax(program: Program, step: Step) -> None:
    """The softmax along the last axis."""
    given, made = step.given(0), step.outputs[0]
    table = exponentials(given.scale, step.options.beta)
    fields: dict[str, str | int] = {
        "exponentials": program.array(np.array(table, np.int32)),
        "rows": given.size // given.shape[-1],
        "length": given.shape[-1],
        "entries": len(table),
    }
    record = program.record("softmax", fields)
    program.call("softmax", record, program.pointer(given), program.pointer(made))


def look_up(program: Program, step: Step, table: NDArray[np.int8]) -> None:
    """A function of single numbers, by a table of all that it gives."""
    given, made = step.given(0), step.outputs[0]
    pointers = map(program.pointer, (given, made))
    program.call("look_up", program.array(table), *pointers, str(made.size))


def end(program: Program, step: Step) -> None:
    """From floats to integers at the begin of a network, or back at its end."""
    given, made = step.given(0), step.outputs[0]
    integers = made if step.kind == "QUANTIZE" else given
    if integers.type != "INT8" or {given.type, made.type} != {"INT8", "FLOAT32"}:
        raise Unsupported(
            f"c-standalone has no {step.kind} from {given.type.lower()} to {made.type.lower()};"
            " --format c has"
        )
    scale = f"{float(integers.scale).hex()}f"
    pointers = map(program.pointer, (given, made))
    program.call(step.kind.lower(), scale, str(integers.zero_point), *pointers, str(made.size))
