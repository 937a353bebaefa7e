"""Operators that put numbers elsewhere and change none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.exporters.c_standalone.network import Step, Value
from edgepress.deploy.exporters.c_standalone.options import activation_of
from edgepress.deploy.exporters.c_standalone.program import Program, walked
from edgepress.deploy.exporters.exporter import Unsupported

View = NDArray[np.int8]


def _whole(value: Value) -> View:
    """An array of a value's shape, whose views say where elements lie."""
    return np.empty(value.shape, np.int8)


def _move(
    program: Program, given: Value, source: View, made: Value, target: View | None = None
) -> None:
    """Copy the elements of a view of one value to those of a view of another, or to all of it.

    Args:
        program: Gets the call.
        given: What is read.
        source: The part of it that is read.
        made: What is written.
        target: The part of it that is written.
    """
    target = np.empty(source.shape, np.int8) if target is None else target
    if source.shape != target.shape:
        raise Unsupported("c-standalone has no such slices; --format c has")
    start = _moved(program.pointer(given), source)
    end = _moved(program.pointer(made), target)
    sizes, (from_steps, to_steps) = walked(source, target)
    if len(sizes) == 1 and from_steps == to_steps == [1]:
        program.copy(end, start, sizes[0])
        return
    fields: dict[str, str | int] = {
        "rows": int(np.prod(sizes[:-1], dtype=np.int64)),
        "length": sizes[-1],
        "in_step": from_steps[-1],
        "out_step": to_steps[-1],
        "in": program.view(sizes[:-1], from_steps[:-1]),
        "out": program.view(sizes[:-1], to_steps[:-1]),
    }
    program.call("move", program.record("move", fields), start, end)


def _moved(pointer: str, view: View) -> str:
    """A pointer to the first element of a view."""
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    begin = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return f"{pointer} + {begin}" if begin else pointer


def transpose(program: Program, step: Step) -> None:
    """Axes in another order."""
    given = step.given(0)
    _move(program, given, _whole(given).transpose(step.constant(1).ravel()), step.outputs[0])


def strided_slice(program: Program, step: Step) -> None:
    """Every n-th element along axes."""
    options, given = step.options, step.given(0)
    if options.ellipsisMask or options.newAxisMask or getattr(options, "offset", False):
        raise Unsupported("c-standalone has no such STRIDED_SLICE; --format c has")
    begins, ends, strides = (step.constant(i).ravel().tolist() for i in (1, 2, 3))
    parts = []
    for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        if options.shrinkAxisMask >> axis & 1:
            place = begin % given.shape[axis]
            parts.append(slice(place, place + 1))
            continue
        first = None if options.beginMask >> axis & 1 else begin
        last = None if options.endMask >> axis & 1 else end
        parts.append(slice(first, last, stride))
    _cut(program, given, parts, step.outputs[0])


def slice_(program: Program, step: Step) -> None:
    """A part along each axis."""
    begins, sizes = (step.constant(i).ravel().tolist() for i in (1, 2))
    parts = [slice(b, None if n < 0 else b + n) for b, n in zip(begins, sizes, strict=True)]
    _cut(program, step.given(0), parts, step.outputs[0])


def split(program: Program, step: Step) -> None:
    """Parts behind one another along an axis."""
    uneven = step.kind == "SPLIT_V"
    given = step.given(0 if uneven else 1)
    axis = int(step.constant(2 if uneven else 0).ravel()[0]) % len(given.shape)
    begin = 0
    for made in step.outputs:
        end = begin + made.shape[axis]
        _cut(program, given, [*_all(axis), slice(begin, end)], made)
        begin = end


def unpack(program: Program, step: Step) -> None:
    """The elements along an axis, each by itself."""
    given = step.given(0)
    axis = step.options.axis % len(given.shape)
    for place, made in enumerate(step.outputs):
        _cut(program, given, [*_all(axis), slice(place, place + 1)], made)


def _cut(program: Program, given: Value, parts: Sequence[slice], made: Value) -> None:
    part = _whole(given)[tuple(parts)]
    if part.size != made.size:
        raise Unsupported("c-standalone has no such slices; --format c has")
    _move(program, given, part, made)


def concatenation(program: Program, step: Step) -> None:
    """Values behind one another along an axis."""
    made = step.outputs[0]
    if activation_of(step) != "NONE":
        raise Unsupported("c-standalone has no CONCATENATION with an activation; --format c has")
    axis, begin = step.options.axis % len(made.shape), 0
    for place in range(len(step.inputs)):
        given = step.given(place)
        end = begin + given.shape[axis]
        part = _whole(made)[(*_all(axis), slice(begin, end))]
        _move(program, given, _whole(given), made, part)
        begin = end


def pack(program: Program, step: Step) -> None:
    """Values behind one another along a new axis."""
    made = step.outputs[0]
    axis = step.options.axis % len(made.shape)
    for place in range(len(step.inputs)):
        given = step.given(place)
        parts = [*_all(axis), slice(place, place + 1)]
        source = np.expand_dims(_whole(given), axis)
        _move(program, given, source, made, _whole(made)[tuple(parts)])


def pad(program: Program, step: Step) -> None:
    """A value around another."""
    given, made = step.given(0), step.outputs[0]
    around = step.constant(1).reshape(-1, 2).tolist()
    filling = int(step.constant(2).ravel()[0]) if step.kind == "PADV2" else made.zero_point
    parts = [
        slice(before, before + size) for (before, _), size in zip(around, given.shape, strict=True)
    ]
    program.call("fill", program.pointer(made), str(filling), str(made.size))
    _move(program, given, _whole(given), made, _whole(made)[tuple(parts)])


def resize_nearest(program: Program, step: Step) -> None:
    """The nearest element for each of another size."""
    given, made, options = step.given(0), step.outputs[0], step.options
    found = [
        _nearest(given.shape[axis], made.shape[axis], options.alignCorners,
                 options.halfPixelCenters)
        for axis in (1, 2)
    ]  # fmt: skip
    fields: dict[str, str | int] = {
        "rows": program.array(found[0]),
        "columns": program.array(found[1]),
        "channels": given.shape[3],
        "in_width": given.shape[2],
        "height": made.shape[1],
        "width": made.shape[2],
    }
    record = program.record("resize_nearest", fields)
    program.each(given.shape[0], "resize_nearest", record, given, made)


def _nearest(size: int, wanted: int, align: bool, centers: bool) -> NDArray[np.int16]:
    """Where each element of an axis comes from, in floats of 32 bits as the kernel does it."""
    if max(size, wanted) > np.iinfo(np.int16).max:
        raise Unsupported("c-standalone has no sizes above 32,767; --format c has")
    one = np.float32(1)
    corners = align and wanted > 1
    scale = np.float32(size - corners) / np.float32(wanted - corners)
    places = (np.arange(wanted, dtype=np.float32) + (one / 2 if centers else 0 * one)) * scale
    # Halves go away from zero, as the kernel rounds.
    whole = np.floor(places + one / 2) if align else np.floor(places)
    return np.minimum(np.maximum(whole, 0), size - 1).astype(np.int16)


def _all(axes: int) -> list[slice]:
    return [slice(None)] * axes
