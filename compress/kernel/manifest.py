"""What a folder of results holds: the files that were written there, each with its hash.

A folder is only replaced when everything in it is named by such a list and is as it was written.
An empty folder in it is named like a file, with a slash behind its name and no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "manifest.json"
_WRITER = "edgepress"
_UNKNOWN = "is not known to be written by edgepress"


@dataclass(frozen=True)
class Foreign:
    """A file or an empty folder in a folder of results that isn't a result.

    Attributes:
        path: The file or folder.
        why: What is odd about it, to be put behind its name.
    """

    path: Path
    why: str


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_of(folder: Path, files: Iterable[Path] | None = None) -> str:
    """The list of a folder's files as text.

    Args:
        folder: The folder; those inside it that have a list of their own are left to that.
        files: Only these; all by default.
    """
    known = dict(_entry(p, folder) for p in files or _unlisted(folder))
    return (
        json.dumps({"written_by": _WRITER, "files": dict(sorted(known.items()))}, indent=2) + "\n"
    )


def first_foreign(
    folder: Path,
    listed: Mapping[str, str] | None = None,
    own: Callable[[Path], bool] | None = None,
) -> Foreign | None:
    """A file or an empty folder that isn't known to be written here; None where all are.

    Args:
        folder: A folder that is to be replaced.
        listed: What a folder around it says of its files; its own list counts for more.
        own: Tells files and folders that are known without a list, such as checkpoints.
    """
    here = read_manifest(folder)
    listed = (listed or {}) if here is None else here
    for path in sorted(folder.iterdir()):
        if (path.name == NAME and here is not None) or (own is not None and own(path)):
            continue
        if _is_folder(path):
            inner = {k.partition("/")[2]: v for k, v in listed.items()
                     if k.startswith(f"{path.name}/")}  # fmt: skip
            known = inner or any(path.iterdir())
            found = first_foreign(path, inner, own) if known else Foreign(path, _UNKNOWN)
        else:
            found = _foreign(path, listed.get(path.name))
        if found is not None:
            return found
    return None


def _foreign(path: Path, expected: str | None) -> Foreign | None:
    if path.is_symlink():
        return Foreign(path, "is a link")
    if expected is None:
        return Foreign(path, _UNKNOWN)
    if not path.is_file() or sha256(path) != expected:
        return Foreign(path, "was changed since edgepress wrote it")
    return None


def read_manifest(folder: Path) -> dict[str, str] | None:
    """The files that a folder's own list names; None where it has none."""
    path = folder / NAME
    if path.is_symlink() or not path.is_file():
        return None
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("written_by") != _WRITER:
        return None
    files = document.get("files")
    return files if isinstance(files, dict) else None


def _unlisted(folder: Path) -> Iterator[Path]:
    """Files and empty folders of a folder and of those below it that have no list of their own."""
    for path in folder.iterdir():
        if not _is_folder(path):
            if path.name != NAME:
                yield path
        elif not any(path.iterdir()):
            yield path
        elif read_manifest(path) is None:
            yield from _unlisted(path)


def _entry(path: Path, folder: Path) -> tuple[str, str]:
    """How a file or an empty folder is listed: its name in the folder, and its hash."""
    name = path.relative_to(folder).as_posix()
    return (f"{name}/", "") if path.is_dir() else (name, sha256(path))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
