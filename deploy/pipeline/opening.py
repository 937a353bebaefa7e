"""Opening the folder of a run: a new one, one that replaces an earlier run, or one that goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.files import TEMPORARY, check_output, temporary_mark
from edgepress.compress.kernel.locks import locked
from edgepress.compress.kernel.manifest import first_foreign
from edgepress.deploy.pipeline.run_folder import IN_COMMON, RunFolder

# What `atomic_output` writes under until it is whole.
_HALF_WRITTEN = re.compile(rf"\..+{TEMPORARY}(\.\w+)?")
# Checkpoints, Optuna's journal and its lock, recipes and logs of trials, stages in common.
_WORKING = re.compile(rf"\..+\.state|study\.journal.*|\d{{4}}\.(yaml|log)|{re.escape(IN_COMMON)}")


class NothingDone(Stopped):
    """The user stopped a run of which nothing is kept; a run that was there before is back."""


def belongs_to_runs(path: Path) -> bool:
    """Whether a file or folder inside a run's or a search's folder is one that comes and goes."""
    return bool(_HALF_WRITTEN.fullmatch(path.name) or _WORKING.fullmatch(path.name))


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
    check_output(path, force, folder=True, inputs=inputs, own=belongs_to_runs)


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
        if not begun and first_foreign(path, own=belongs_to_runs) is None:
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
        if pattern.fullmatch(aside.name) and aside.is_dir():
            if first_foreign(aside, own=belongs_to_runs) is None:
                shutil.rmtree(aside)
            else:
                aside.rename(path.with_name(f"{path.name}.before-{aside.name[-12:-4]}"))


def _sweep(folder: RunFolder) -> None:
    """Remove what a run that was killed left half-written."""
    for place in (folder.path, folder.path / "stages"):
        for path in place.iterdir() if place.is_dir() else ():
            if not _HALF_WRITTEN.fullmatch(path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
