"""The folder of one run: whole stages, each with the key of what went into it."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edgepress.benchmarks.records import ExportRecord, StageRecord
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import (
    adopt,
    atomic_output,
    read_json,
    sha256,
    temporary_mark,
    write_json,
    write_text,
)
from edgepress.compress.kernel.manifest import NAME as MANIFEST
from edgepress.compress.kernel.manifest import first_foreign, manifest_of, read_manifest
from edgepress.deploy.recipe import Recipe, recipe_text

R = TypeVar("R", ExportRecord, StageRecord)

_RESULT = "result.json"
# The folder of stages that the trials of a search have in common, and what names it to them.
IN_COMMON = ".stages"
SHARED_STAGES = "EDGEPRESS_SHARED_STAGES"
# What stages of before hold, which had no list of their files.
_OF_A_STAGE = (_RESULT, "model.keras", "model.tflite", "curves.png")


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Attributes:
        path: The folder: `recipe.yaml`, `run.json`, `stages/NN-name/`, `artifacts/`,
            `report.html`.
        more: Other files in it.
        shared: Folder of stages that several runs have in common, or None. A stage that another run
            finished with the same inputs is taken from there.
    """

    path: Path
    more: tuple[Path, ...] = ()
    shared: Path | None = None

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

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the resolved recipe, where it isn't there already."""
        text = recipe_text(recipe)
        if not (self.recipe.is_file() and self.recipe.read_text("utf-8") == text):
            write_text(self.recipe, text)
        self.list_files()

    def check_recipe(self) -> None:
        """Refuse to go on with a recipe that isn't as the run wrote it.

        Raises:
            InputError: It was changed or cut; a run so changed would be another run.
        """
        known = (read_manifest(self.path) or {}).get(self.recipe.name)
        if known is not None and sha256(self.recipe) != known:
            raise InputError(
                f"'{self.recipe}' is not as the run wrote it",
                "to run another recipe here, name it before --resume, as in: edgepress compress"
                f" {self.recipe} --resume {self.path}",
            )

    def list_files(self) -> None:
        """List the files that lie in the folder itself; stages and artifacts have own lists."""
        loose = [p for p in (self.recipe, self.record, self.report, *self.more) if p.is_file()]
        write_text(self.path / MANIFEST, manifest_of(self.path, loose))

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
        if (found is None or found.key != key) and self._take_shared(name, key):
            found = _read(folder / _RESULT, StageRecord)
        model = folder / "model.keras"
        if found is None or found.key != key or not model.is_file():
            return None
        listed = (read_manifest(folder) or {}).get(model.name)
        if listed is not None and sha256(model) != listed:
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

    def share(self, name: str, key: str) -> None:
        """Let other runs have a finished stage."""
        if self.shared is not None:
            _link(self.stage(name), self._shared_stage(self.shared, name, key))

    def _take_shared(self, name: str, key: str) -> bool:
        """Take a stage that another run finished; whether there is one, as it was written."""
        if self.shared is None:
            return False
        source = self._shared_stage(self.shared, name, key)
        if not source.is_dir() or first_foreign(source) is not None:
            return False
        keep_changed(self.stage(name))
        _link(source, self.stage(name))
        return True

    @staticmethod
    def _shared_stage(shared: Path, name: str, key: str) -> Path:
        return shared / f"{name}-{key}"

    @contextmanager
    def writing(self, name: str, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Write a stage: a folder that appears when whole, and a result to fill in.

        Checkpoints are kept when the stage fails or is stopped, and removed when it is done.
        """
        result: dict[str, Any] = {"key": key}
        adopt(self.stage(name), _OF_A_STAGE)
        keep_changed(self.stage(name))
        with atomic_output(self.stage(name), force=True, folder=True) as folder:
            folder.mkdir(parents=True)
            yield folder, result
            write_json(folder / _RESULT, result)
        shutil.rmtree(self.state(name), ignore_errors=True)


def shared_stages() -> Path | None:
    """Where the search that this process runs a trial of keeps stages in common; else None."""
    place = os.environ.get(SHARED_STAGES)
    return Path(place) if place else None


def _link(source: Path, target: Path) -> None:
    """Copy a stage's folder, its files by hard links where the file system has these.

    Files of stages are only ever replaced as a whole, so a link never changes the other run's.
    """
    if target.is_dir() and first_foreign(target) is None:
        shutil.rmtree(target)

    def copy(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)
        return other

    temporary = target.with_name(f".{target.name}{temporary_mark()}.tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(source, temporary, copy_function=copy)
        if not target.exists():
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def keep_changed(folder: Path) -> None:
    """Set a folder aside in which something isn't as it was written: it is rebuilt."""
    if folder.is_dir() and first_foreign(folder) is not None:
        folder.rename(folder.with_name(f".{folder.name}.before-{uuid.uuid4().hex[:8]}"))


def _read(path: Path, kind: type[R]) -> R | None:
    """A stage's record; None where there is none, or one that an earlier version wrote otherwise.

    Such a stage is done again.
    """
    try:
        return kind.model_validate(read_json(path)) if path.is_file() else None
    except (ValidationError, UnicodeError, InputError):
        return None
