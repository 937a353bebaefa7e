"""The boundary around what somebody gave: whatever goes wrong behind it is one line that names it.

Readers of other libraries raise what they like, and code of the user's raises anything. Both are
turned into `InputError`s here; the cause stays behind them for `--debug`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath

from edgepress.compress.errors import EdgepressError, InputError

# Names of the modules that files of the user's are imported as begin with this.
USER_MODULE = "edgepress_user_"

_MOST_CHARACTERS = 300
_REFUSALS = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EACCES,
             errno.EROFS, errno.ENAMETOOLONG, errno.EIO)  # fmt: skip
# Options, and fields of a recipe, that name what is written.
_WRITTEN = frozenset(
    ("output", "resume", "history", "junit", "github", "plot", "log_csv", "log_tensorboard",
     "recover_log_csv", "recover_log_tensorboard")
)  # fmt: skip
_LINE = re.compile(r'File "([^"]+)", line (\d+)')
# Names of its own graph that TensorFlow puts around what happened, and codes of ONNX Runtime.
_OF_LIBRARIES = re.compile(
    r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:\w+\](?: name:)?|\[ONNXRuntimeError\] : \d+ : \w+ : "
)
# How TensorFlow tells of the last error of a Python function that it called.
_TOLD_INSIDE = re.compile(r"\n\n([\w.]+)(?:: (.*?))?\n\n+\t \[\[", re.DOTALL)


@contextmanager
def reading(what: str, hint: str = "") -> Iterator[None]:
    """Read something that was given.

    Args:
        what: Names it, with its kind where that isn't plain: "recipe 'r.yaml'".
        hint: What to do about it.

    Raises:
        InputError: Anything went wrong in the block. Errors of edgepress pass as they are.
    """
    try:
        yield
    except EdgepressError:
        raise
    except Exception as error:
        named = error.filename if isinstance(error, OSError) else None
        # Of a folder, the file in it.
        inside = f"'{named}': " if isinstance(named, str) and f"'{named}'" not in what else ""
        raise InputError(f"{what} can't be read: {inside}{reason(error)}", hint) from error


@contextmanager
def running(what: str) -> Iterator[None]:
    """Run code of the user's.

    Args:
        what: Names it where the error itself doesn't say in which line it arose.

    Raises:
        InputError: The code raised; names file and line. Code that calls `exit()` raised, too.
    """
    try:
        yield
    except (EdgepressError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise explained(error) or InputError(f"{what} fails: {_named(error)}") from error


def check_regular(path: Path) -> None:
    """Refuse what isn't a file: reading a pipe or a device may never end.

    Raises:
        InputError: It is a pipe, a device or a socket.
        OSError: There is nothing, or it can't be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
        raise InputError(f"'{path}' is {kind}, not a file", "copy its contents to a file first")


def text_of(path: Path, encoding: str = "utf-8-sig") -> str:
    """The text of a file that was given.

    Args:
        path: The file.
        encoding: Of its text; a byte order mark is no part of that.

    Raises:
        InputError: It is a pipe, a device or a socket.
        OSError: It can't be read.
        UnicodeDecodeError: It isn't of that encoding.
    """
    return bytes_of(path).decode(encoding)


def bytes_of(path: Path) -> bytes:
    """The content of a file that was given; raises as `text_of`."""
    check_regular(path)
    return path.read_bytes()


def names_file(text: str) -> bool:
    """Whether a text that may be anything names a file or folder; a long one names none."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def may_name_files(values: object) -> Iterator[str]:
    """Texts in options or a recipe that may name something to be read; a bare word names none.

    Args:
        values: Texts and paths, and mappings and sequences of them. What is named by an option that
            is written to is left out.
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            if name not in _WRITTEN:
                yield from may_name_files(value)
    elif isinstance(values, tuple | list):
        for value in values:
            yield from may_name_files(value)
    elif isinstance(values, PurePath) or (isinstance(values, str) and re.search(r"[./]", values)):
        parts = re.split("[,;]", str(values))
        yield from {str(values), *(part.rpartition("=")[2] for part in parts)}


def explained(error: BaseException) -> InputError | None:
    """An error that arose in the user's code, or in data while it was drawn, as one of input.

    Such code runs inside other libraries: in a layer, a callback, a dataset's generator. Its lines
    are in the traceback, or in the text of the error that TensorFlow makes of it.

    Returns:
        The error to raise instead; None where it arose elsewhere.
    """
    if isinstance(error, SyntaxError) and error.filename in _user_files():
        return InputError(f"{error.filename}:{error.lineno or 1}: {_named(error)}")
    if isinstance(error, ValueError) and "null byte" in _text(error):
        return InputError("a name of a file holds a zero byte")
    place = _place(error)
    inside = _TOLD_INSIDE.findall(_text(error))
    if inside and inside[-1][0].endswith("InputError"):
        return InputError(inside[-1][1])
    if place:
        reason = ": ".join(filter(None, inside[-1])) if inside else _named(error)
        return InputError(f"{place}: {' '.join(reason.split())[:_MOST_CHARACTERS]}")
    return None


def reason(error: BaseException) -> str:
    """Why something failed, in words for the person who gave it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, UnicodeError):
        return "its text isn't UTF-8"
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "a number in it has thousands of digits"
    text = _one_line(error)
    if isinstance(error, KeyError) and text:
        return f"it lacks {text}"
    return text or "it is damaged, or not of the form that is expected"


def refused_by_system(error: BaseException) -> str:
    """What a disk, its owner or the limits of the system refused, in words.

    TensorFlow and HDF5 write files by themselves, and tell of it in errors of their own.

    Returns:
        The words; empty where it was something else.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename!r}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return reason(error)
    text = _one_line(error)
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop"):
        return text  # of Python below 3.13, where a path is resolved
    return text if any(os.strerror(number) in text for number in _REFUSALS) else ""


def _named(error: BaseException) -> str:
    """Kind and text of an error, on one line."""
    text = _one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _one_line(error: BaseException) -> str:
    """The text of an error, on one line; an error of the user's own may not even have one."""
    # TensorFlow quotes the traceback of a Python function that it called behind what it raised.
    reason = _text(error).partition("Traceback (most recent call last)")[0] or _text(error)
    return " ".join(_OF_LIBRARIES.sub("", reason).split())[:_MOST_CHARACTERS]


def _place(error: BaseException) -> str:
    """File and line in the user's code; empty where it has no part in the error."""
    files = _user_files()
    lines = traceback.extract_tb(error.__traceback__) if files else []
    places = [f"{f.filename}:{f.lineno}" for f in lines if f.filename in files]
    places += [f"{name}:{line}" for name, line in _LINE.findall(_text(error)) if name in files]
    return places[-1] if places else ""


def _user_files() -> set[str]:
    """Python files of the user's that were imported."""
    names = [name for name in sys.modules if name.startswith(USER_MODULE)]
    return {str(getattr(sys.modules[name], "__file__", "")) for name in names}


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""
