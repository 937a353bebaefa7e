"""Files that are whole or absent: temporary name beside the target, then one rename."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import names_file, reading, reason, text_of
from edgepress.compress.kernel.manifest import NAME as MANIFEST
from edgepress.compress.kernel.manifest import first_foreign, manifest_of, read_manifest
from edgepress.compress.kernel.manifest import sha256 as sha256

_LEVEL_9_UP_TO = 32_000_000
# What file systems take, less what temporary names and those of neighbours (logs, arrays) add.
_MOST_BYTES_OF_A_NAME, _LONGEST_ADDITION = 255, 35
_MOST_BYTES = 3_500
# What is written under until it is whole, and where a former result is until then.
TEMPORARY = r"\.edgepress-[0-9a-f]{8}"
# A name that `atomic_output` writes under.
HALF_WRITTEN = re.compile(rf"\..+{TEMPORARY}(\.\w+)?")
# What a training keeps in a folder: its state, and the weights that a recovery started from.
CHECKPOINTS = ("training.npz", "start.npz")
# Beside them: what the model that is trained costs.
COST_FILE = "cost.json"
# Places that blocks of `atomic_output` are writing in: what writes there needs none of its own.
_given: set[Path] = set()


def check_output(
    path: Path | str,
    force: bool = False,
    *,
    folder: bool = False,
    inputs: Iterable[Any] = (),
    own: Callable[[Path], bool] | None = None,
) -> Path:
    """Refuse, before any work, an output that exists or can't be written.

    Args:
        path: The file or folder that will be written.
        force: Whether an existing output may be replaced: a file by a file, a folder by a folder
            in which everything was written by edgepress and is as it was.
        folder: Whether a folder will be written.
        inputs: What the work reads, as people name it; an output that holds it is refused. What
            names no file or folder (a model object, `tfds:NAME`) is passed over.
        own: Tells what in an existing folder is known to be edgepress's without being listed.

    Returns:
        The path as `Path`.

    Raises:
        InputError: The output exists (without `force`), must not be replaced, or its folder can't
            be written.
    """
    path = Path(path)
    if path in _given:
        return path
    _check_name(path)
    if os.path.lexists(path):
        obstacle = _obstacle(path, folder, inputs, own)
        if obstacle:
            raise InputError(
                f"'{path}' exists already and can't be replaced: {obstacle}",
                "choose another output",
            )
        if not force:
            raise InputError(f"'{path}' exists already", "choose another output or pass --force")
    _check_place(path)
    return path


def check_distinct(*outputs: Path | str | None) -> None:
    """Refuse two outputs of one call that are the same file.

    Args:
        outputs: The outputs; None for those that aren't asked for.

    Raises:
        InputError: Two are the same, or one lies in another.
    """
    asked = [Path(output) for output in outputs if output is not None]
    for one, other in itertools.combinations(asked, 2):
        first, second = one.resolve(), other.resolve()
        if first == second or first in second.parents or second in first.parents:
            raise InputError(
                f"the outputs '{one}' and '{other}' would replace each other", "name another"
            )


def check_rewritten(path: Path | str, what: str, begins: bytes, inputs: Iterable[Any] = ()) -> Path:
    """Refuse, before any work, an output that is rewritten at each call and is something else.

    Args:
        path: The file.
        what: What it should be where it exists: "log of a training".
        begins: A pattern of how such files begin.
        inputs: As for `check_output`.

    Raises:
        InputError: It exists and begins otherwise, is an input, or can't be written.
    """
    path = check_output(path, force=True, inputs=inputs)
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(200)
        if head and not re.match(begins, head):
            raise InputError(f"'{path}' exists already and is no {what}", "choose another output")
    return path


def _check_name(path: Path) -> None:
    """Refuse a name that no file can have, or whose temporary neighbours could have none."""
    if "\0" in str(path):
        raise InputError("the output's name holds a zero byte")
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest + _LONGEST_ADDITION > _MOST_BYTES_OF_A_NAME or len(bytes(path)) > _MOST_BYTES:
        raise InputError(
            f"the output's name is too long: '{str(path)[:40]}…'",
            f"at most {_MOST_BYTES_OF_A_NAME - _LONGEST_ADDITION} bytes for each part",
        )
    for place in (place for place, part in enumerate(path.parts) if part == ".." and place):
        before = Path(*path.parts[:place])
        # Made for the output, it would lead to a file that isn't seen before.
        if not before.is_dir():
            raise InputError(f"'{before}' is not a folder, so '{path}' leads nowhere")


def _check_place(path: Path) -> None:
    """Refuse an output where no file can be made."""
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"'{parent}' is not a folder, so '{path}' can't be written in it")
    if not os.access(parent, os.W_OK):
        raise InputError(f"'{path}' can't be written: no permission in '{parent}'")
    try:
        # Permission isn't all: a file system may be full, or take no files at all.
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"'{path}' can't be written: {reason(error)} in '{parent}'") from error


def _obstacle(
    path: Path, folder: bool, inputs: Iterable[Any], own: Callable[[Path], bool] | None
) -> str:
    """Why an existing output must stay; empty where it may go."""
    if path.is_symlink():
        return "it is a link"
    if not path.is_dir() and not path.is_file():
        return "it is a device, a pipe or a socket"
    there = path.resolve()
    if _is_mounted(there):
        return "something is mounted there, which can't be renamed"
    if path.is_dir() and Path.cwd().is_relative_to(there):
        return "it is the folder that the command runs in, or one around it"
    for given in inputs:
        read = _named_file(given)
        if read is not None and (read == there or there in read.parents):
            where = "is the same file" if read == there else "lies in it"
            return f"the input '{given}' {where}"
    if path.is_dir() != folder:
        return (
            "it is a folder, the output a file"
            if path.is_dir()
            else "it is a file, the output a folder"
        )
    foreign = first_foreign(path, own=own) if folder else None
    return "" if foreign is None else f"'{foreign.path}' in it {foreign.why}"


def _is_mounted(path: Path) -> bool:
    """Whether a path is where something is mounted; of containers that may be a single file."""
    import psutil

    return any(part.mountpoint == str(path) for part in psutil.disk_partitions(all=True))


def _named_file(given: object) -> Path | None:
    """The file or folder that an input names: itself, or what stands before `:function`."""
    if not isinstance(given, str | Path):
        return None
    for text in (str(given), str(given).rpartition(":")[0]):
        if text and names_file(text):
            return Path(text).resolve()
    return None


@contextmanager
def atomic_output(
    target: Path | str, force: bool = False, *, folder: bool = False, checked: bool = False
) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it to `target` when the block succeeds.

    The block writes a file, or makes a folder, at the path it gets. When it raises, what it wrote
    is removed and an existing target stays as it was. A folder gets a list of what it holds.

    Args:
        target: Where the result goes.
        force: Whether an existing target is replaced; see `check_output`.
        folder: Whether the block makes a folder.
        checked: Whether `check_output` allowed the target before the work that the block keeps.

    Yields:
        A path that doesn't exist, with the target's suffix, on the same file system; a target that
        another block was given is written in itself.

    Raises:
        InputError: The target exists without `force`, must not be replaced, or can't be written.
            One that was put there since it was checked stays, and the result is kept beside it.
    """
    target = Path(target) if checked else check_output(target, force, folder=folder)
    if target in _given:
        yield target
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}{temporary_mark()}{target.suffix}")
    _given.add(temporary)
    try:
        yield temporary
        if folder:
            (temporary / MANIFEST).write_text(manifest_of(temporary), "utf-8")
        if not force and os.path.lexists(target):
            _keep_beside(temporary, target)
        _replace(temporary, target)
    except OSError as error:
        if error.strerror and not error.filename:  # what refuses to write doesn't say where
            error.filename = str(target)
        raise
    finally:
        _given.discard(temporary)
        remove(temporary)


def temporary_mark() -> str:
    """A part of a name by which edgepress knows what it hasn't finished; see `TEMPORARY`."""
    return f".edgepress-{uuid.uuid4().hex[:8]}"


def sweep(target: Path | str) -> None:
    """Remove what killed processes left half-written beside a target.

    Only for a target that one process at a time writes.

    Args:
        target: What `atomic_output` was asked for.
    """
    target = Path(target)
    pattern = re.compile(rf"\.{re.escape(target.stem)}{TEMPORARY}{re.escape(target.suffix)}")
    if not target.parent.is_dir():
        return
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name):
            remove(path)


def _keep_beside(temporary: Path, target: Path) -> NoReturn:
    """Keep a result whose name was taken while it was made, under another name."""
    kept = target.with_name(f"{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}")
    temporary.rename(kept)
    raise InputError(f"'{target}' was written by something else meanwhile", f"this is in '{kept}'")


def _replace(temporary: Path, target: Path) -> None:
    """Rename; a folder in the way is set aside first, so that a crash loses neither version."""
    if not temporary.is_dir() or not target.exists():
        temporary.replace(target)
        return
    aside = target.with_name(f".{target.name}{temporary_mark()}.old")
    target.rename(aside)
    try:
        temporary.rename(target)
    except OSError:
        aside.rename(target)
        raise
    _discard(aside, target)


def _discard(aside: Path, target: Path) -> None:
    """Remove the former result, unless something was put into it while the new one was made."""
    if first_foreign(aside) is None:
        remove(aside)
        return
    kept = target.with_name(f"{target.name}.before-{aside.name[-12:-4]}")
    aside.rename(kept)
    warnings.warn(
        f"'{kept}' keeps what was put into '{target}' while it was being replaced", stacklevel=4
    )


def remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link, but nothing that a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; one that is there is replaced."""
    with atomic_output(path, force=True) as temporary:
        # A file's name that isn't UTF-8 may stand in it.
        temporary.write_text(text, "utf-8", "backslashreplace")


def adopt(folder: Path, names: Iterable[str]) -> None:
    """List the files of a folder that was written before folders had lists.

    Args:
        folder: The folder; one that has a list, or doesn't exist, stays as it is.
        names: What edgepress writes there; other files aren't listed.
    """
    if folder.is_dir() and read_manifest(folder) is None:
        found = [folder / name for name in names if (folder / name).is_file()]
        write_text(folder / MANIFEST, manifest_of(folder, found))


def write_json(path: Path, value: object, force: bool = True, *, checked: bool = False) -> None:
    """Write a value as indented JSON, whole or not at all; options as for `atomic_output`."""
    with atomic_output(path, force, checked=checked) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file is missing, isn't JSON, or is nested too deep.
    """
    with reading(f"'{path}'"):
        try:
            return json.loads(text_of(path, "utf-8"))
        except FileNotFoundError:
            raise InputError(f"'{path}' does not exist") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}' is not JSON: {error}") from error


def gzip_size(path: Path) -> int:
    """Bytes that a file takes after gzip: what an app download costs.

    At level 9, and at gzip's own level 6 above 32 MB: there level 9 took 48 s for each 10 MB of a
    network's small 16-bit floats, and level 6 two.
    """
    level = 9 if path.stat().st_size <= _LEVEL_9_UP_TO else 6
    return len(gzip.compress(path.read_bytes(), compresslevel=level, mtime=0))


def zstd_size(path: Path) -> int:
    """Bytes that a file takes after Zstandard at level 12, as newer download services pack it."""
    import zstandard

    return len(zstandard.ZstdCompressor(level=12).compress(path.read_bytes()))


def content_key(*parts: object) -> str:
    """A short key that changes when any of the JSON-able parts changes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
