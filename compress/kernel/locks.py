"""One process at a time in a folder, by a lock that the kernel frees with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.compress.errors import InputError


@contextmanager
def locked(folder: Path, what: Path | str) -> Iterator[None]:
    """Hold a folder's lock while the block runs; no file is made for it.

    Args:
        folder: A folder that exists. The lock goes with it when it is renamed.
        what: What is guarded, for the error.

    Raises:
        InputError: Another process holds the lock.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is writing '{what}'",
                "wait until it has ended, or choose another output",
            ) from None
        yield
    finally:
        os.close(handle)
