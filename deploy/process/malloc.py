"""The C library's heap, where weights come and go in many copies."""

from __future__ import annotations

import ctypes
import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of glibc's mallopt(3): the option, and the largest value that it takes by itself.
_M_MMAP_THRESHOLD = -3
_LARGEST = 32 * 1024 * 1024
_BLOCK = 1024 * 1024
_MUCH = 2_000_000  # KB


@contextmanager
def returning_blocks() -> Iterator[None]:
    """Return blocks of a megabyte to the system when they are freed, where the C library can.

    Otherwise glibc keeps those of up to 32 MB for itself, in pieces: some ten times the weights
    of a network that tf2onnx converts. Costs time where such blocks come and go by the thousand,
    as in TFLite's converter.
    """
    option = _own("mallopt")
    if option is None:
        yield
        return
    option(_M_MMAP_THRESHOLD, _BLOCK)
    try:
        yield
    finally:
        option(_M_MMAP_THRESHOLD, _LARGEST)


def return_much() -> None:
    """Return to the system what nothing uses any more, in a process that has ever been large.

    A child that waits for its next task keeps it from the runtimes that run meanwhile. In a small
    process it isn't worth the time.
    """
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _MUCH:
        return
    gc.collect()  # TensorFlow's graphs are cycles.
    trim = _own("malloc_trim")
    if trim is not None:
        trim(0)


def _own(name: str) -> Any:
    """A function of glibc's own; None where the C library is another."""
    return getattr(ctypes.CDLL(None), name, None)
