"""ONNX files as sources: looked at, and quantised by ONNX Runtime's own tools."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from edgepress.compress.kernel.files import sha256
from edgepress.compress.models.class_lists.own import ClassList, in_metadata
from edgepress.compress.models.other_kinds import KINDS
from edgepress.deploy.exporters.exporter import Exporter, Job, Written
from edgepress.deploy.exporters.onnx.writing import CONVERTED, write_onnx
from edgepress.deploy.exporters.table import ONNX
from edgepress.deploy.sources.contents.account import FileInspection
from edgepress.deploy.sources.formats.onnx_reading import (
    read_onnx,
    signature,
    stored_as,
)
from edgepress.deploy.sources.formats.onnx_tensors import outside_files
from edgepress.deploy.sources.model_file import (
    ForeignFile,
    inspected,
    not_convertible,
    offered,
    stored_already,
)
from edgepress.deploy.sources.signature import checked


class OnnxFile(ForeignFile):
    """An `.onnx` file.

    Args:
        path: The file.

    Raises:
        InputError: It is no ONNX file or damaged, or weights outside of it are missing.
    """

    what = KINDS[".onnx"]

    def __init__(self, path: Path) -> None:
        self.path = path
        model = read_onnx(path)
        self._outside = outside_files(model, path)
        self._said = {entry.key: entry.value for entry in model.metadata_props}
        self.signature = checked(path, signature(model))
        self.precision = stored_as(model)

    def inspect(self) -> FileInspection:
        """Its operators, added up by a child process."""
        return inspected(self, "onnx-inspect", {}, [self.path, *self._outside])

    def class_list(self) -> ClassList | None:
        """That of its metadata, as `names` of Ultralytics."""
        return in_metadata(self._said, self.path)

    def identify(self) -> str:
        """The hash of the file and of those with its weights."""
        return "-".join(sha256(part) for part in [self.path, *self._outside])

    def exporters(self) -> Mapping[str, Exporter]:
        """ONNX in other precisions."""
        whole = self.precision == "float32"
        there = ONNX.precisions if whole else frozenset({self.precision})
        absent = ONNX.absent if whole else stored_already(self.precision)
        return {
            "onnx": offered(ONNX, there, self._write, absent),
            **not_convertible("ONNX", self._write, ("onnx",)),
        }

    def _write(self, job: Job, precision: str, out: Path) -> Written:
        """The file itself, or made from it by the route that a Keras model's ONNX file takes."""
        source = job.made_once(CONVERTED, partial(self._gather, job))
        if precision == self.precision:
            shutil.copy(source, out)
            return Written(out)
        return write_onnx(job, precision, out)

    def _gather(self, job: Job, out: Path) -> None:
        """The file with all its weights in it."""
        if not self._outside:
            shutil.copy(self.path, out)
            return
        job.worker.ask("onnx-gather", {"source": str(self.path.absolute()), "out": str(out)})
