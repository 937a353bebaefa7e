"""The folder of one run: whole stages, each with the key of what went into it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edgepress.benchmarks.records import ExportRecord, StageRecord
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import (
    atomic_output,
    check_output,
    read_json,
    sha256,
    write_json,
)

R = TypeVar("R", ExportRecord, StageRecord)

_RESULT = "result.json"


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Attributes:
        path: The folder: `recipe.yaml`, `run.json`, `stages/NN-name/`, `artifacts/`,
            `report.html`.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def record(self) -> Path:
        """Everything measured."""
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    @property
    def artifacts(self) -> Path:
        """The exported files."""
        return self.path / "artifacts"

    def stage(self, name: str) -> Path:
        """Folder of a finished stage, such as `02-prune`."""
        return self.path / "stages" / name

    def state(self, name: str) -> Path:
        """Folder for the checkpoints of a stage that isn't finished."""
        return self.path / "stages" / f".{name}.state"

    def finished_stage(self, name: str, key: str) -> StageRecord | None:
        """What a stage left that was finished with the same inputs, else None.

        Its model and float file must be this folder's own, as they were written.
        """
        folder = self.stage(name)
        found = _read(folder / _RESULT, StageRecord)
        if found is None or found.key != key or not (folder / "model.keras").is_file():
            return None
        file = folder / "model.tflite"
        own = sha256(file) if file.is_file() else None
        # Records of before know no hash.
        if found.float_sha256 not in (None, own):
            return None
        return found.model_copy(update={"float_sha256": own})

    def finished_export(self, name: str, key: str) -> ExportRecord | None:
        """What the export left that was finished with the same inputs, else None.

        Each of its files must lie in this folder and be the one that was verified.
        """
        found = _read(self.stage(name) / _RESULT, ExportRecord)
        if found is None or found.key != key:
            return None
        for artifact in found.artifacts:
            file = artifact.path.under(self.path)
            if not file.is_file() or sha256(file) != artifact.sha256:
                return None
        return found

    @contextmanager
    def writing(self, name: str, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Write a stage: a folder that appears when whole, and a result to fill in.

        Checkpoints are kept when the stage fails or is stopped, and removed when it is done.
        """
        result: dict[str, Any] = {"key": key}
        with atomic_output(self.stage(name), force=True) as folder:
            folder.mkdir(parents=True)
            yield folder, result
            write_json(folder / _RESULT, result)
        shutil.rmtree(self.state(name), ignore_errors=True)


def _read(path: Path, kind: type[R]) -> R | None:
    """A stage's record; None where there is none, or one that an earlier version wrote otherwise.

    Such a stage is done again.
    """
    try:
        return kind.model_validate(read_json(path)) if path.is_file() else None
    except (ValidationError, InputError):
        return None


def open_run(path: Path, resume: bool, force: bool) -> RunFolder:
    """The folder of a new run, or of one that goes on.

    Args:
        path: The folder.
        resume: Whether a run there goes on.
        force: Whether a finished run there is replaced.

    Raises:
        InputError: There is something else, or nothing to resume.
    """
    folder = RunFolder(path)
    if resume:
        if not folder.recipe.is_file():
            raise InputError(f"'{path}' holds no run to resume", "its recipe.yaml is missing")
        _sweep(folder)
        return folder
    check_output(path, force)
    if path.exists():
        is_run = folder.recipe.is_file() or (path.is_dir() and not any(path.iterdir()))
        if not is_run:
            raise InputError(f"'{path}' is not the folder of a run, so it isn't replaced")
        shutil.rmtree(path.resolve())  # of a link what it leads to: the link stays
    path.resolve().mkdir(parents=True)
    return folder


# What `atomic_output` writes under until it is whole.
_HALF_WRITTEN = re.compile(r"^\..+\.[0-9a-f]{8}(\.old|\.[a-z]+)?$")


def _sweep(folder: RunFolder) -> None:
    """Remove what a run that was killed left half-written."""
    for place in (folder.path, folder.path / "stages"):
        for path in place.iterdir() if place.is_dir() else ():
            if not _HALF_WRITTEN.match(path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
