"""One process at a time in a folder, by a lock that the kernel frees with its process."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.compress.errors import InputError

_LOOK_S = 0.02  # between looks at a lock that another process has


@contextmanager
def locked(folder: Path, what: Path | str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a folder's lock while the block runs; no file is made for it.

    Args:
        folder: A folder that exists. The lock goes with it when it is renamed.
        what: What is guarded, for the error.
        wait_s: For how many seconds another process's work is waited for.

    Raises:
        InputError: Another process holds the lock.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + wait_s
        while not _taken(handle):
            if time.monotonic() >= until:
                raise InputError(
                    f"another process is writing '{what}'",
                    "wait until it has ended, or choose another output",
                )
            time.sleep(_LOOK_S)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
