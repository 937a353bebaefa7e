"""Operations of `keras.ops` in a graph, by the names of their classes, which are not public."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.channels.ids import Ids, compact
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.merging import refuse, trace_unknown
from edgepress.compress.structure.rules.movement import concatenate, keep_equal, pad
from edgepress.compress.structure.rules.rule import Rule, Sizes

if TYPE_CHECKING:
    import keras

    from edgepress.compress.structure.rules.rule import Outputs


def _touches_batch(axes: Sequence[int], rank: int) -> bool:
    return any(a % rank == 0 for a in axes)


def _moved(move: Callable[[Any, Any], Any], axes: Callable[[Any, int], Sequence[int]]) -> Rule:
    """A movement of whole axes: made on the kept-short array as NumPy would on the tensor.

    Args:
        move: From the operation and the array to the moved array.
        axes: From the operation and the rank to the axes that mustn't be the batch.
    """

    def trace(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
        if _touches_batch(axes(operation, inputs[0].rank), inputs[0].rank):
            return trace_unknown(operation, inputs, site)
        return Ids(move(operation, inputs[0].array), site.shapes[0])

    return Rule(trace)


def _axes(value: int | tuple[int, ...] | list[int]) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _transposed_batch(operation: keras.Operation, rank: int) -> Sequence[int]:
    """The batch moved anywhere but to the front counts as touched."""
    order = operation.axes or tuple(reversed(range(rank)))
    return [] if order[0] == 0 else [0]


def _expanded(operation: keras.Operation, _rank: int) -> Sequence[int]:
    return [a for a in _axes(operation.axis) if a == 0]


def _squeezed(operation: keras.Operation, array: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.squeeze(array, tuple(a % array.ndim for a in _axes(operation.axis)))


TRANSPOSE = _moved(lambda o, a: np.transpose(a, o.axes), _transposed_batch)
SWAP = _moved(lambda o, a: np.swapaxes(a, o.axis1, o.axis2), lambda o, _: [o.axis1, o.axis2])
MOVE = _moved(
    lambda o, a: np.moveaxis(a, o.source, o.destination),
    lambda o, _: [*_axes(o.source), *_axes(o.destination)],
)
EXPAND = _moved(lambda o, a: np.expand_dims(a, tuple(_axes(o.axis))), _expanded)
SQUEEZE = _moved(
    _squeezed, lambda o, rank: [0] if o.axis is None else [a % rank for a in _axes(o.axis)]
)


def _flipped_array(operation: keras.Operation, array: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flip(array, tuple(a % array.ndim for a in _axes(operation.axis)))


FLIP = _moved(_flipped_array, lambda o, _: [0] if o.axis is None else _axes(o.axis))


def rewrite(operation: keras.Operation, name: str, value: Any) -> None:
    """Set an argument of an operation, and in the configuration that it will be saved with."""
    from keras.src.saving.serialization_lib import SerializableDict

    setattr(operation, name, value)
    saved = getattr(operation, "_auto_config", None)
    if saved is not None:
        operation._auto_config = SerializableDict(**{**saved.config, name: value})


def revise_reshape(operation: keras.Operation, _arguments: list[Any], sizes: Sizes) -> None:
    """`newshape`; an open length, the batch among them, as -1."""
    rewrite(operation, "newshape", tuple(-1 if n is None else n for n in sizes.output()))


def _key(arguments: Sequence[Any], rank: int) -> list[Any]:
    """The key of `x[key]` with one entry for each axis of x, and new axes between."""
    key = arguments[1]
    entries = list(key) if isinstance(key, (tuple, list)) else [key]
    named = sum(1 for e in entries if e is not None and e is not Ellipsis)
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    full: list[Any] = []
    for entry in entries:
        full += [slice(None)] * (rank - named) if entry is Ellipsis else [entry]
    return full


def trace_get_item(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """`x[key]`: slices of step 1 move along; a single index or a stride pins what it picks from."""
    ids = inputs[0]
    key = _key(site.node.arguments.args, ids.rank)
    array, axis = ids.array, 0
    place: list[Any] = []
    if key[0] != slice(None):
        return trace_unknown(operation, inputs, site)
    for entry in key:
        if entry is None:
            place.append(None)
            continue
        if not isinstance(entry, (int, slice)):
            return trace_unknown(operation, inputs, site)
        varies = array.shape[axis] > 1
        plain = isinstance(entry, slice) and entry.step in (None, 1)
        if varies and not plain:
            site.pin(ids, "{} picks single channels")
        place.append(_short(entry, varies))
        axis += 1
    return compact(array[tuple(place)], site.shapes[0])


def _short(entry: int | slice, varies: bool) -> int | slice:
    """An index for an array whose axis is kept at length 1 unless it varies."""
    if varies:
        return entry
    return 0 if isinstance(entry, int) else slice(None)


def revise_get_item(_operation: keras.Operation, arguments: list[Any], sizes: Sizes) -> None:
    """Bounds count what is kept before them."""
    key = _key(arguments, len(sizes.input()))
    axis, revised = 0, []
    for entry in key:
        if entry is not None:
            if isinstance(entry, slice):
                entry = _bounds(entry, sizes.kept(axis))
            axis += 1
        revised.append(entry)
    arguments[1] = tuple(revised)


def _bounds(entry: slice, kept: NDArray[np.bool_]) -> slice:
    if kept.all() or entry.step not in (None, 1):
        return entry
    start, stop, _ = entry.indices(len(kept))
    return slice(int(kept[:start].sum()), int(kept[:stop].sum()))


def _sections(operation: keras.Operation, length: int) -> list[int]:
    """Where a split cuts."""
    given = operation.indices_or_sections
    if isinstance(given, int):
        return [length // given * i for i in range(1, given)]
    return [int(i) for i in given]


def trace_split(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Split: parts of the array, or the same short array for each part."""
    ids = inputs[0]
    axis = ids.axis(operation.axis)
    if axis == 0 or (axis in ids.varying and ids.shape[axis] is None):
        return trace_unknown(operation, inputs, site)
    if axis not in ids.varying:
        return [Ids(ids.array, shape) for shape in site.shapes]
    parts = np.split(ids.array, _sections(operation, ids.array.shape[axis]), axis)
    return [compact(p, s) for p, s in zip(parts, site.shapes, strict=True)]


def revise_split(operation: keras.Operation, _arguments: list[Any], sizes: Sizes) -> None:
    """Cuts count what is kept before them."""
    kept = sizes.kept(operation.axis)
    if not kept.all():
        cuts = _sections(operation, len(kept))
        moved = tuple(int(kept[:c].sum()) for c in cuts)
        rewrite(operation, "indices_or_sections", moved)


def trace_stack(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Stack: a new axis, along which the tensors lie side by side."""
    shape = site.shapes[0]
    axis = operation.axis % len(shape)
    if axis == 0:
        return trace_unknown(operation, inputs, site)
    keep_equal(inputs, [], site)
    raised = [
        Ids(np.expand_dims(i.array, axis), (*i.shape[:axis], 1, *i.shape[axis:])) for i in inputs
    ]
    return concatenate(raised, axis, shape)


def trace_unstack(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Unstack: slices of an axis, which must stay as many."""
    ids = inputs[0]
    axis = ids.axis(operation.axis)
    if axis == 0 or axis in ids.varying:
        return trace_unknown(operation, inputs, site)
    return [Ids(ids.array.squeeze(axis), shape) for shape in site.shapes]


def trace_tile(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Tile and broadcast: copies of the same channels."""
    ids = inputs[0]
    repeats = _axes(operation.repeats)
    repeats = [1] * (ids.rank - len(repeats)) + repeats
    if len(repeats) != ids.rank or repeats[0] != 1:
        return trace_unknown(operation, inputs, site)
    short = [r if n > 1 else 1 for r, n in zip(repeats, ids.array.shape, strict=True)]
    return Ids(np.tile(ids.array, short), site.shapes[0])


def trace_repeat(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Repeat: each element several times in a row."""
    ids = inputs[0]
    if operation.axis is None or not isinstance(operation.repeats, int):
        return trace_unknown(operation, inputs, site)
    axis = ids.axis(operation.axis)
    if axis == 0:
        return trace_unknown(operation, inputs, site)
    array = np.repeat(ids.array, operation.repeats, axis) if axis in ids.varying else ids.array
    return Ids(array, site.shapes[0])


def trace_pad(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Pad."""
    widths = list(operation.pad_width)
    widths = widths * inputs[0].rank if len(widths) == 1 else widths
    if any(widths[0]):
        return trace_unknown(operation, inputs, site)
    if operation.mode != "constant" and any(any(widths[a]) for a in inputs[0].varying):
        return trace_unknown(operation, inputs, site)
    return pad(inputs[0], [tuple(w) for w in widths], site)


def trace_reduction(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Mean, Max, …: over places channels pass; over channels they stay."""
    ids = inputs[0]
    axes = range(ids.rank) if operation.axis is None else _axes(operation.axis)
    axes = sorted({a % ids.rank for a in axes})
    if 0 in axes:
        return refuse(inputs, site, "{} reduces over samples")
    if set(axes) & set(ids.varying):
        site.pin(ids, "{} reduces these channels to one number")
        return site.pinned(f"'{site.path}' reduces channels to one number")
    array = ids.array if operation.keepdims else np.squeeze(ids.array, tuple(axes))
    return Ids(array, site.shapes[0])


def trace_depth_to_space(
    operation: keras.Operation, inputs: tuple[Ids, ...], site: Site
) -> Outputs:
    """Depth to space: a block's channels become places, so they stay or go together.

    The block's places vary first in the channel axis, so channel `k` of the result takes
    `k, k + C, k + 2C, …` of the input.
    """
    if operation.data_format != "channels_last":
        return trace_unknown(operation, inputs, site)
    block = operation.block_size**2
    vector = site.along(inputs[0], -1)
    united = site.trace.classes.unite_across(vector.reshape(block, -1), 1)
    return site.placed(united, -1)


def trace_space_to_depth(
    operation: keras.Operation, inputs: tuple[Ids, ...], site: Site
) -> Outputs:
    """Space to depth: each channel once for each place of the block."""
    if operation.data_format != "channels_last":
        return trace_unknown(operation, inputs, site)
    return site.placed(np.tile(site.along(inputs[0], -1), operation.block_size**2), -1)
