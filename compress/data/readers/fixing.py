"""Samples of a stream that every later pass finds again, in one order.

A `tf.data` pipeline may shuffle again, drop other samples or draw random changes at each pass. What
is measured is measured on one pass, kept in memory or on disk; a pipeline that is too large for
either and gives the same each time is read again each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.storage import Limits
from edgepress.compress.data.readers.streams import StreamSource
from edgepress.compress.errors import InputError

Array = NDArray[Any]
Batch = tuple[Any, ...]

_BATCH = 64
_LIMITS = Limits(memory=1.0)
FIX_THE_ORDER = (
    "give image_dataset_from_directory shuffle=False, .shuffle() a seed and"
    " reshuffle_each_iteration=False, and leave random steps out"
)
_RESTART = "let the data function return a pipeline that can be iterated again"


def fixed(stream: StreamSource, where: str, limits: Limits = _LIMITS) -> ArraySource | StreamSource:
    """A source that gives the samples of one pass over a stream, however often it is asked.

    Args:
        stream: What is measured on.
        where: What it comes from, for messages.
        limits: How much may be kept.

    Returns:
        The samples as arrays. Where they don't fit in memory, the stream itself if it gives the
        same first batch twice, else arrays on disk.

    Raises:
        InputError: The stream gives other samples at each pass and there is no room to keep one,
            or another pass has another number of samples.
    """
    kept, complete = _as_far_as_fits(stream, limits.bytes_in_memory())
    if not kept:
        raise InputError(f"{where}: there are no samples in a second pass", _RESTART)
    repeats = digest(kept[0]) == digest(next(_batches(stream), kept[-1]))
    if complete:
        source = _joined(kept)
        return source if repeats else source.part(_by_content(source))
    return stream if repeats else _on_disk(stream, kept[0], where, limits)


def digest(values: object) -> bytes:
    """Hash of nested arrays: of their values, shapes and element types."""
    import tensorflow as tf

    found = hashlib.blake2b(digest_size=16)
    for value in tf.nest.flatten(values):
        array = np.ascontiguousarray(value)
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(array.tobytes() if array.dtype != object else repr(array.tolist()).encode())
    return found.digest()


def _batches(stream: StreamSource) -> Iterator[Batch]:
    yield from stream.weighted_batches(None, _BATCH).as_numpy_iterator()


def _as_far_as_fits(stream: StreamSource, room: float) -> tuple[list[Batch], bool]:
    """The batches of one pass, and whether they are all there are."""
    import tensorflow as tf

    kept: list[Batch] = []
    size = 0
    for batch in _batches(stream):
        size += sum(np.asarray(value).nbytes for value in tf.nest.flatten(batch))
        if kept and size > room:
            return kept, False
        kept.append(batch)
    return kept, True


def _joined(batches: Iterable[Batch]) -> ArraySource:
    import tensorflow as tf

    return ArraySource(*tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches))


def _by_content(source: ArraySource) -> Array:
    """An order that the samples alone decide: the same in every run, whatever order they came in.

    Returns:
        (samples,) indices.
    """
    import tensorflow as tf

    arrays = tf.nest.flatten((source.inputs, source.targets))
    digests = [digest([array[i] for array in arrays]) for i in range(source.size)]
    return np.argsort(np.array(digests), kind="stable")


def _on_disk(stream: StreamSource, sample: Batch, where: str, limits: Limits) -> ArraySource:
    """One pass over a stream that doesn't fit in memory."""
    import tensorflow as tf

    arrays = tf.nest.flatten(sample)
    size = float(sum(np.asarray(a[0]).nbytes for a in arrays)) * stream.size
    make = limits.place(size)
    if make is None:
        raise InputError(
            f"{where}: the pipeline yields different samples, or another order, on each pass, and"
            f" its {size / 2**30:.1f} GiB fit neither in memory nor on the temporary disk",
            FIX_THE_ORDER,
        )
    kept = [make((stream.size, *a.shape[1:]), a.dtype) for a in arrays]
    start = 0
    for batch in _batches(stream):
        for array, part in zip(kept, tf.nest.flatten(batch), strict=True):
            array[start : start + len(part)] = part[: max(0, stream.size - start)]
        start += len(tf.nest.flatten(batch)[0])
    if start != stream.size:
        raise InputError(f"{where}: one pass has {stream.size} samples, another {start}", _RESTART)
    return ArraySource(*tf.nest.pack_sequence_as(sample, kept))
