"""Opening the folder of a run: a new one, one that replaces an earlier run, or one that goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.files import (
    CHECKPOINTS,
    COST_FILE,
    HALF_WRITTEN,
    TEMPORARY,
    check_output,
    remove,
    temporary_mark,
)
from edgepress.compress.kernel.locks import locked
from edgepress.compress.kernel.manifest import first_foreign
from edgepress.compress.kernel.onednn import CRASH_FILE
from edgepress.deploy.pipeline.run_folder import IN_COMMON, RunFolder

_RUN = r"(trials/\d{4,}/)?"
_STATE = rf"{_RUN}stages/\.[^/]+\.state"
# Checkpoints, Optuna's journal, recipes and logs of trials.
_WORKING = re.compile(
    rf"study\.journal|trials/\d{{4,}}\.(yaml|log)|{_RUN}{re.escape(CRASH_FILE)}"
    rf"|{_STATE}/(.+/)?({'|'.join(map(re.escape, (*CHECKPOINTS, COST_FILE)))})"
    rf"|{re.escape(IN_COMMON)}/scores-[0-9a-f]+\.npz"
)
# Where a search dies that holds the journal's lock, which is a link.
_LOCK = re.compile(r"study\.journal\.lock.*")
# What stays empty where a run, search or fit is ended early.
_FOLDERS = re.compile(
    rf"{_RUN}stages|trials(/\d{{4,}})?|picks|{re.escape(IN_COMMON)}|{_STATE}(/.+)?"
)


class NothingDone(Stopped):
    """The user stopped a run of which nothing is kept; a run that was there before is back."""


def own_in(run: Path) -> Callable[[Path], bool]:
    """Tells what in the folder of a run, search or fit comes and goes, and so isn't listed."""

    def own(path: Path) -> bool:
        inside = path.relative_to(run).as_posix()
        if path.is_symlink():
            return _LOCK.fullmatch(inside) is not None
        if HALF_WRITTEN.fullmatch(path.name):
            return True
        if path.is_dir():
            return not any(path.iterdir()) and _FOLDERS.fullmatch(inside) is not None
        return _WORKING.fullmatch(inside) is not None

    return own


def check_run_output(path: Path, force: bool, inputs: Iterable[Any] = ()) -> None:
    """Refuse, before any work, a folder that a new run can't have.

    Args:
        path: The folder.
        force: Whether an earlier run there may be replaced.
        inputs: What the run reads.

    Raises:
        InputError: It is taken, or holds something that edgepress didn't write.
    """
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        force = True
    check_output(path, force, folder=True, inputs=inputs, own=own_in(path))


@contextmanager
def opened_run(
    path: Path, resume: bool, force: bool, inputs: Iterable[Any] = (), *, given: bool = False
) -> Iterator[RunFolder]:
    """The folder of a new run, or of one that goes on; nobody else has it meanwhile.

    An earlier run is set aside until the new one is whole. Where the new one fails before its first
    stage is done, the earlier one is put back.

    Args:
        path: The folder.
        resume: Whether a run there goes on.
        force: Whether an earlier run there is replaced.
        inputs: What the run reads.
        given: Whether the recipe comes from the caller and may differ from the folder's own.

    Raises:
        InputError: There is something else, nothing to resume, or another process has it.
    """
    folder = RunFolder(path)
    if resume:
        if not folder.recipe.is_file():
            raise InputError(f"'{path}' holds no run to resume", "its recipe.yaml is missing")
        with locked(path, path):
            if not given:
                folder.check_recipe()
            _sweep(folder)
            yield folder
        _forget_earlier(path)
        return
    check_run_output(path, force, inputs)
    aside = _set_aside(path)
    path.mkdir(parents=True, exist_ok=True)
    try:
        with locked(path, path):
            yield folder
    except BaseException as error:
        begun = any((path / "stages").glob("[0-9]*")) or any((path / "trials").glob("*"))
        if not begun and first_foreign(path, own=own_in(path)) is None:
            shutil.rmtree(path)
            if aside is not None:
                aside.rename(path)
            if isinstance(error, KeyboardInterrupt | Stopped):
                raise NothingDone("stopped before the first stage was done") from None
        raise
    _forget_earlier(path)


def _set_aside(path: Path) -> Path | None:
    """Rename an earlier run; None where there is none."""
    if not path.is_dir():
        return None
    with locked(path, path):
        aside = path.with_name(f".{path.name}{temporary_mark()}.old")
        path.rename(aside)
    return aside


def _forget_earlier(path: Path) -> None:
    """Remove the runs that a finished one replaced."""
    path = path.absolute()
    pattern = re.compile(rf"\.{re.escape(path.name)}{TEMPORARY}\.old")
    for aside in path.parent.iterdir():
        if pattern.fullmatch(aside.name) and aside.is_dir() and not aside.is_symlink():
            if first_foreign(aside, own=own_in(aside)) is None:
                remove(aside)
            else:
                aside.rename(path.with_name(f"{path.name}.before-{aside.name[-12:-4]}"))


def _sweep(folder: RunFolder) -> None:
    """Remove what a run that was killed left half-written."""
    for place in (folder.path, folder.path / "stages"):
        for path in place.iterdir() if place.is_dir() else ():
            if HALF_WRITTEN.fullmatch(path.name):
                remove(path)
