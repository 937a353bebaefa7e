"""Where `finetune` and `prune` keep the checkpoints from which they go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.files import sweep
from edgepress.compress.kernel.locks import locked
from edgepress.deploy.cli import display
from edgepress.deploy.cli.supervised.supervision import CRASH_FILE, Work


def state_folder(output: Path) -> Path:
    """Where the checkpoints of a command that writes an output lie."""
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
    return path.is_dir() or path.suffix == ".npz" or path.name == CRASH_FILE


def going_on(output: Path) -> Work:
    """The work of a command whose checkpoints lie beside its output."""
    words: list[str] = click.get_current_context().find_root().obj or []
    more = [] if "--resume" in words else ["--resume"]

    def go_on() -> list[str] | None:
        return [words[0], *more, *words[1:]] if _kept(state_folder(output)) else None

    return Work(state_folder(output), go_on)


def _kept(folder: Path) -> bool:
    """Whether there are checkpoints in a folder."""
    return folder.is_dir() and any(path.name != CRASH_FILE for path in folder.iterdir())


@contextmanager
def _checkpoints(output: Path, folder: Path, resume: bool, begun: bool) -> Iterator[None]:
    """Empty the folder where the work begins anew, and once it is done."""
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
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
