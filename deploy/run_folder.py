"""The folder of one run: whole stages, each with the key of what went into it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.files import atomic_output, check_output, read_json, write_json

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

    def finished(self, name: str, key: str) -> dict[str, Any] | None:
        """The result of a stage that was finished with the same inputs, else None."""
        path = self.stage(name) / _RESULT
        if not path.exists():
            return None
        result: dict[str, Any] = read_json(path)
        return result if result.get("key") == key else None

    def relative(self, value: Any) -> Any:
        """A JSON-able value with paths inside the folder made relative to it.

        So `run.json` holds the same wherever the run lies, and can be moved with it.
        """
        return _map_text(value, lambda text: text.removeprefix(f"{self.path}/"))

    def absolute(self, value: Any) -> Any:
        """The inverse of `relative`."""
        inside = ("artifacts/", "stages/")
        return _map_text(value, lambda t: f"{self.path}/{t}" if t.startswith(inside) else t)

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


def _map_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {k: _map_text(v, change) for k, v in value.items()}
    return [_map_text(v, change) for v in value] if isinstance(value, list) else value


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
        shutil.rmtree(path)
    path.mkdir(parents=True)
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
