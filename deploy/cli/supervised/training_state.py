"""Where `finetune` and `prune` keep the checkpoints from which they go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.files import (
    CHECKPOINTS,
    COST_FILE,
    HALF_WRITTEN,
    atomic_output,
    read_json,
    sha256,
    sweep,
    write_json,
)
from edgepress.compress.kernel.locks import locked
from edgepress.compress.kernel.onednn import CRASH_FILE
from edgepress.deploy.cli import display
from edgepress.deploy.cli.supervised.supervision import Work

# Hashes of the outputs, written before the first of them is renamed to its name.
_PUBLISHED = "published.json"


def state_folder(output: Path) -> Path:
    """Where the checkpoints of a command that writes an output lie.

    Raises:
        InputError: The output has no name of its own, as the running folder and the root.
    """
    if not output.name:
        raise InputError(f"'{output}' names no file that could be written", "choose another output")
    return output.with_name(f".{output.name}.state")


@contextmanager
def training_state(output: Path, resume: bool) -> Iterator[Path]:
    """A folder for checkpoints beside an output; removed when the block succeeds.

    Args:
        output: The file that the command writes.
        resume: Whether checkpoints of an earlier, stopped call are used; where there are none yet,
            the work starts at its beginning.

    Yields:
        The folder.

    Raises:
        InputError: Another process writes the same output, or the folder holds something else.
        Stopped: The user stopped the work; says how to go on.
    """
    folder = state_folder(output)
    _check(folder, output)
    begun = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, output):
        _check(folder, output)
        try:
            with _checkpoints(output, folder, resume, begun):
                yield folder
        finally:
            if not any(folder.iterdir()):
                folder.rmdir()


def _check(folder: Path, output: Path) -> None:
    """Refuse a folder of which not everything is a checkpoint: it is emptied.

    Raises:
        InputError: It holds something else, or is none.
    """
    hint = "move it away, or choose another output"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"'{folder}', where '{output}' keeps its checkpoints, is no folder", hint)
    found = (path for path in sorted(folder.rglob("*")) if not _is_ours(path))
    if (foreign := next(found, None)) is not None:
        raise InputError(
            f"'{foreign}' lies where '{output}' keeps its checkpoints, and is none", hint
        )


def _is_ours(path: Path) -> bool:
    """Whether a training put a file or folder among its checkpoints."""
    if path.is_symlink():
        return False
    if not path.is_file():
        return path.is_dir()
    known = path.name in (*CHECKPOINTS, COST_FILE, CRASH_FILE, _PUBLISHED)
    return known or HALF_WRITTEN.fullmatch(path.name) is not None


def going_on(output: Path) -> Work:
    """The work of a command whose checkpoints lie beside its output."""
    words: list[str] = click.get_current_context().find_root().obj or []
    more = [] if "--resume" in words else ["--resume"]

    def go_on() -> list[str] | None:
        return [words[0], *more, *words[1:]] if _kept(state_folder(output)) else None

    return Work(state_folder(output), go_on)


def _kept(folder: Path) -> bool:
    """Whether there are checkpoints in a folder."""
    return any(path.name in CHECKPOINTS for path in folder.rglob("*"))


def may_replace(values: Mapping[str, Any], path: Path) -> bool:
    """Whether a command may replace one of its outputs that is there already.

    `--resume` may where the stopped call had put it there: it was killed after one of its outputs
    was whole and before its checkpoints were removed.

    Args:
        values: The command's options.
        path: The output.
    """
    record = state_folder(Path(values["output"])) / _PUBLISHED
    if values["force"] or not (values["resume"] and record.is_file() and path.exists()):
        return bool(values["force"])
    content = read_json(record)
    return isinstance(content, dict) and content.get(path.name) == _digest(path)


def _digest(path: Path) -> str | None:
    """Of a file, or of a folder's model."""
    file = path / "model.keras" if path.is_dir() else path
    return sha256(file) if file.is_file() else None


@contextmanager
def published(
    values: Mapping[str, Any], *targets: Path, folder: bool = False
) -> Iterator[tuple[Path, ...]]:
    """Places to write outputs in, which get their names when the block succeeds.

    Args:
        values: The command's options.
        targets: The outputs. They get their names in turn, the first one last.
        folder: Whether they are folders with a `model.keras`.
    """
    with ExitStack() as stack:
        places = tuple(
            stack.enter_context(atomic_output(path, may_replace(values, path), folder=folder))
            for path in targets
        )
        yield places
        digests = {t.name: _digest(p) for t, p in zip(targets, places, strict=True)}
        write_json(state_folder(Path(values["output"])) / _PUBLISHED, digests)


@contextmanager
def _checkpoints(output: Path, folder: Path, resume: bool, begun: bool) -> Iterator[None]:
    """Empty the folder where the work starts over, and once it is done."""
    for written in (output, output.with_suffix(".json"), output.with_suffix(".png")):
        sweep(written)
    if not resume:
        _empty(folder)
    elif not begun:
        display.say("note: there is no checkpoint yet, so the training starts at its beginning")
    try:
        yield
    except (KeyboardInterrupt, Stopped):
        if not _kept(folder):
            raise Stopped("stopped before the first checkpoint; nothing was written") from None
        raise Stopped(
            "stopped; the last checkpoint is kept", "run the same command with --resume to go on"
        ) from None
    _empty(folder)


def _empty(folder: Path) -> None:
    # A call that is killed in between knows its outputs until there is nothing to go on from.
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _PUBLISHED):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
