"""Zip archives that were looked through before anything in them is unpacked."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib import format as npy

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular
from edgepress.compress.models.guarding.limits import check_memory
from edgepress.compress.processes.scratch import scratch_folder

# What Python raises on archives that are damaged.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, KeyError, UnicodeError,
)  # fmt: skip
_ENCRYPTED = 0x1
_IN_MEMORY_BYTES = 2**26


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose members may be read.

    Args:
        path: The file.

    Raises:
        InputError: It is no regular file, two members have one name, a name leaves the archive,
            a member is encrypted, or all of them take more memory than the file may.
        zipfile.BadZipFile: It is no zip archive.
        OSError: It can't be read.
    """
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        _check_members(archive, path)
        yield archive


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    names: set[str] = set()
    total = 0
    for member in archive.infolist():
        name = member.filename
        if name in names:
            raise InputError(f"'{path}' holds two members named '{name[:100]}'", "pack it again")
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or "\\" in name:
            raise InputError(
                f"'{path}' holds '{name[:100]}', a name that leads out of the archive",
                "get it from a source you trust",
            )
        if member.flag_bits & _ENCRYPTED:
            raise InputError(
                f"'{path}' is an archive that can't be opened: '{name[:100]}' is encrypted",
                "pack it again with plain zip",
            )
        names.add(name)
        total += member.file_size
    check_memory(path, total, path.stat().st_size)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A large `.keras` archive as the folder that Keras reads, too; a small one as it is.

    Keras reads the weights of an archive as a whole before it hands them out; those in a folder
    are read one by one.

    Args:
        path: The file.

    Yields:
        A temporary folder, gone afterwards, or `path`.

    Raises:
        InputError: As for `open_archive`.
    """
    if path.stat().st_size <= _IN_MEMORY_BYTES or not zipfile.is_zipfile(path):
        yield path
        return
    with scratch_folder() as folder:
        with open_archive(path) as archive:
            archive.extractall(folder)
        yield folder


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an `.npz` file.

    Args:
        path: The file.

    Returns:
        Arrays by name; no Python object among them.

    Raises:
        InputError: It isn't one, is damaged, holds Python objects, declares more than it holds, or
            takes more memory than the file may.
    """
    try:
        with open_archive(path) as archive:
            for member in archive.infolist():
                _check_array(archive, member, path)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except PermissionError:
        raise InputError(
            f"'{path}' can't be read: its permissions don't let you", "change them or copy it"
        ) from None
    except ValueError as error:
        raise InputError(
            f"'{path}' can't be read: {' '.join(str(error).split())[:200]}",
            "write it with numpy.savez_compressed",
        ) from None
    except (*DAMAGED, AttributeError, TypeError, NotImplementedError, RuntimeError):
        raise InputError(
            f"'{path}' is an incomplete or corrupt .npz file",
            "write it with numpy.savez_compressed",
        ) from None


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Hold what an array's head declares against the bytes that are there."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        there = member.file_size - file.tell()
    if dtype.hasobject:
        raise InputError(
            f"'{path}' holds Python objects, which are not read", "save plain number arrays"
        )
    declared = dtype.itemsize
    for size in shape:
        declared *= size
    if declared > there or any(size < 0 for size in shape):
        raise InputError(
            f"'{path}' is an incomplete or corrupt .npz file: '{member.filename[:100]}' declares"
            f" {declared:,} bytes and holds {there:,}",
            "write it with numpy.savez_compressed",
        )
