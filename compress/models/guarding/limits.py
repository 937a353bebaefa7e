"""How much memory a file may take, which must be known before it is unpacked."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import psutil

from edgepress.compress.errors import InputError

# Deflate packs a run of zeros about 1030 times smaller, so a ratio alone can't tell an honest mask
# from a trap: what counts is what a file takes, and how large it is itself.
_FREE_BYTES, _TIMES_THE_FILE, _SHARE = 2**30, 3, 0.8
_PIECE_BYTES = 2**22
VARIABLE = "EDGEPRESS_UNPACKED_GB"


def memory_limit(file_bytes: int) -> int:
    """Bytes that a file of `file_bytes` may take once unpacked.

    1 GiB and three times the file, but at most 80 % of the memory that is available; or what the
    environment variable `EDGEPRESS_UNPACKED_GB` says.

    Raises:
        InputError: The variable holds no positive number.
    """
    said = os.environ.get(VARIABLE)
    if said:
        try:
            gigabytes = float(said)
            if gigabytes > 0:
                return int(gigabytes * 1e9)
        except (ValueError, OverflowError):
            pass
        raise InputError(f"{VARIABLE} is '{said}', not a number of GB", f"write {VARIABLE}=8")
    return min(
        _FREE_BYTES + _TIMES_THE_FILE * file_bytes,
        int(_SHARE * psutil.virtual_memory().available),
    )


def check_memory(path: Path | str, unpacked: int, file_bytes: int) -> None:
    """Refuse a file that takes too much memory.

    Args:
        path: The file, for the message.
        unpacked: Bytes that its contents take.
        file_bytes: Bytes that it has.

    Raises:
        InputError: It takes more than `memory_limit` allows.
    """
    limit = memory_limit(file_bytes)
    if unpacked > limit:
        raise InputError(
            f"'{path}' has {_size(file_bytes)} but declares contents of {_size(unpacked)}, above"
            f" the limit of {_size(limit)}",
            f"if you trust it and have the memory, set {VARIABLE}={unpacked // 10**9 + 1}",
        )


def check_gzip(path: Path) -> None:
    """Refuse a gzip file that takes too much memory: its size is counted, in pieces.

    Raises:
        InputError: It takes more than `memory_limit` allows.
        OSError: It is damaged.
        EOFError: It ends too early.
    """
    size = path.stat().st_size
    limit, unpacked = memory_limit(size), 0
    with gzip.open(path) as file:
        while piece := file.read(_PIECE_BYTES):
            unpacked += len(piece)
            if unpacked > limit:
                check_memory(path, unpacked, size)


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
