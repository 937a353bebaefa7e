"""TFLite files as sources: looked at, stored in fewer bits, and written as C."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepress.benchmarks.tflite.graph import share_vectors, undamaged
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import sha256
from edgepress.compress.models.class_lists.own import ClassList
from edgepress.compress.models.other_kinds import KINDS
from edgepress.deploy.exporters.c.source import write_sources
from edgepress.deploy.exporters.c_standalone.source import write_sources as write_standalone
from edgepress.deploy.exporters.exporter import Exporter, Job, Written
from edgepress.deploy.exporters.table import C_SOURCE, C_STANDALONE, TFLITE
from edgepress.deploy.exporters.tflite.metadata import read_description, read_labels
from edgepress.deploy.sources.contents.account import FileInspection, account
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader, left_out
from edgepress.deploy.sources.model_file import (
    ForeignFile,
    not_convertible,
    offered,
    stored_already,
)
from edgepress.deploy.sources.signature import checked

# What the quantiser makes of a float file.
_FEWER_BITS = frozenset({"dynamic", "int8-weights", "int4-weights", "int8", "int16x8"})


class TFLiteFile(ForeignFile):
    """A `.tflite` file.

    Args:
        path: The file.

    Raises:
        InputError: It is no TFLite file, or damaged.
    """

    what = KINDS[".tflite"]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = TFLiteReader(path)
        self._operations = [replace(o, uncounted=left_out(o)) for o in self._reader.operations()]
        self.signature = checked(path, self._reader.signature())
        self.precision = self._reader.precision

    def inspect(self) -> FileInspection:
        """Its operators, added up."""
        size, operations = self.path.stat().st_size, self._operations
        notes = [*self._reader.notes(operations), *self._description()]
        return account(
            self.what, size, self.signature, operations, self.precision, notes, self.path
        )

    def _description(self) -> list[str]:
        """What the file says of itself."""
        try:
            with undamaged(self.path):
                description = read_description(self.path)
        except InputError as error:
            return [error.message]
        return description.lines() if description else []

    def class_list(self) -> ClassList | None:
        """That of its metadata, or of a list of labels packed behind the model."""
        try:
            with undamaged(self.path):
                names = read_labels(self.path)
        except InputError:
            return None  # `inspect` says so
        return ClassList(names, f"the metadata of '{self.path}'") if names else None

    def identify(self) -> str:
        """The file's hash."""
        return sha256(self.path)

    @property
    def operators(self) -> frozenset[str]:
        """The distinct operators, those of loops and branches too."""
        return frozenset(operation.type for operation in self._operations)

    @cached_property
    def _precisions(self) -> frozenset[str]:
        return frozenset({self.precision} | (_FEWER_BITS if self.precision == "float32" else set()))

    def exporters(self) -> Mapping[str, Exporter]:
        """TFLite in fewer bits, and C."""
        there = self._precisions
        in_c = there & C_SOURCE.precisions
        return {
            "tflite": offered(TFLITE, there, self._write, self._absent()),
            "c": offered(C_SOURCE, in_c, self._write_c, {**self._absent(), **C_SOURCE.absent}),
            "c-standalone": offered(
                C_STANDALONE,
                there & C_STANDALONE.precisions,
                self._write_standalone,
                {**self._absent(), **C_STANDALONE.absent},
            ),
            **not_convertible("TFLite", self._write, ("tflite", "c", "c-standalone")),
        }

    def _absent(self) -> dict[str, str]:
        """Why there is no file of a precision."""
        if self.precision == "float32":
            return {"float16": "an existing TFLite file can't be stored in 16-bit floats"}
        return stored_already(self.precision)

    def _write(self, job: Job, precision: str, out: Path) -> Written:
        if precision == self.precision:
            shutil.copy(self.path, out)
            return Written(out)
        request: dict[str, Any] = {
            "source": str(self.path.absolute()),
            "out": str(out),
            "precision": precision,
            "calibration": None if job.calibration is None else str(job.calibration),
        }
        job.worker.ask("tflite-weights", request)
        share_vectors(out)
        return Written(out)

    def _write_c(self, job: Job, precision: str, out: Path) -> Written:
        model = job.scratch / f"{out.stem}_c.tflite"
        self._write(job, precision, model)
        return write_sources(job, precision, model, out)

    def _write_standalone(self, job: Job, precision: str, out: Path) -> Written:
        model = job.scratch / f"{out.stem}.tflite"
        self._write(job, precision, model)
        return write_standalone(job, model, out)
