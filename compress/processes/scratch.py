"""Temporary files of this process, all in one folder that goes with it.

The folder's name holds the process's number and the moment it began, and the process keeps the
folder's lock. What a killed process left is removed by the next one that makes such a folder.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"edgepress-(\d+)-(\d+)-\w+")


@dataclass(frozen=True)
class _Own:
    """The folder of a process, with the handle that holds its lock."""

    pid: int
    path: Path
    handle: int


_own: list[_Own] = []


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder that is removed after the block."""
    with tempfile.TemporaryDirectory(dir=own_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def taken_along() -> Iterator[None]:
    """Let what libraries put into the temporary folder in the block go with this process.

    Some forget theirs where writing fails, as Keras does where a disk is full.
    """
    before = tempfile.tempdir
    tempfile.tempdir = str(own_folder())
    try:
        yield
    finally:
        tempfile.tempdir = before


def keep_text(text: str, prefix: str) -> Path:
    """Write a text that outlasts this process, for a person who is told of it.

    Args:
        text: What a program said before it died.
        prefix: How the file's name begins.
    """
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return Path(name)


def own_folder() -> Path:
    """This process's folder for temporary files, made when it is first asked for."""
    if _own and _own[-1].pid == os.getpid() and _own[-1].path.is_dir():
        return _own[-1].path
    place = Path(tempfile.gettempdir())
    _sweep(place)
    pid = os.getpid()
    path = Path(tempfile.mkdtemp(prefix=f"edgepress-{pid}-{_began(pid)}-", dir=place))
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _own.append(_Own(pid, path, handle))
    if len(_own) == 1:
        atexit.register(_remove_own)
    return path


def _remove_own() -> None:
    """Remove the folder at the process's end; one that a fork inherited is its parent's."""
    for own in _own:
        if own.pid == os.getpid():
            shutil.rmtree(own.path, ignore_errors=True)


def _began(pid: int) -> int:
    """When a process began, in the kernel's ticks; 0 where the kernel doesn't say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _sweep(place: Path) -> None:
    """Remove the folders of this user's processes that are over."""
    for path in place.glob("edgepress-*"):
        match = _NAME.fullmatch(path.name)
        with contextlib.suppress(OSError):  # another process sweeps, too
            if match and path.lstat().st_uid == os.geteuid() and _is_over(path, *match.groups()):
                shutil.rmtree(path, ignore_errors=True)


def _is_over(path: Path, pid: str, began: str) -> bool:
    """Whether the process of a folder is over.

    The lock tells it of processes in other containers, too; number and moment tell it of one that
    has not taken the lock yet.
    """
    if Path(f"/proc/{pid}").exists() and int(began) in (0, _began(int(pid))):
        return False
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
