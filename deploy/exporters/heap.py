"""The C library's heap, where weights come and go in many copies."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Of glibc's mallopt(3): the option, and the largest value that it takes by itself.
_M_MMAP_THRESHOLD = -3
_LARGEST = 32 * 1024 * 1024
_BLOCK = 1024 * 1024


@contextmanager
def returning_blocks() -> Iterator[None]:
    """Return blocks of a megabyte to the system when they are freed, where the C library can.

    Otherwise glibc keeps those of up to 32 MB for itself, in pieces: some ten times the weights
    of a network that tf2onnx converts. Costs time where such blocks come and go by the thousand,
    as in TFLite's converter.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is None:  # another C library's
        yield
        return
    option(_M_MMAP_THRESHOLD, _BLOCK)
    try:
        yield
    finally:
        option(_M_MMAP_THRESHOLD, _LARGEST)
