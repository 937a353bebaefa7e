"""ONNX files as sources: looked at, and quantised by ONNX Runtime's own tools."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from edgepress.compress.files import sha256
from edgepress.compress.models.other_kinds import KINDS
from edgepress.deploy.exporters.exporter import Exporter, Job, Written
from edgepress.deploy.exporters.onnx import write_onnx
from edgepress.deploy.exporters.table import EXPORTERS, ONNX
from edgepress.deploy.foreign.account import FileInspection, Operation, account
from edgepress.deploy.foreign.kind import ForeignFile, asked, offered
from edgepress.deploy.foreign.onnx_reading import is_scattered, outside_files, read_onnx, signature
from edgepress.deploy.foreign.signature import checked
from edgepress.deploy.quantize.precision import PRECISIONS
from edgepress.deploy.worker import Worker

_NO_ROAD = "there is no road from ONNX to {0}: export the model that the file was made from"


class OnnxFile(ForeignFile):
    """An `.onnx` file.

    Args:
        path: The file.

    Raises:
        InputError: It is no ONNX file or damaged, or weights outside of it are missing.
    """

    what = KINDS[".onnx"]

    def __init__(self, path: Path) -> None:
        from edgepress.deploy.verifying import guess_precision

        self.path = path
        model = read_onnx(path)
        self._scattered = is_scattered(model)
        self._parts = [path, *outside_files(model, path)]
        self.signature = checked(path, signature(model))
        self.precision = guess_precision(path)

    def inspect(self) -> FileInspection:
        """Its operators, added up by a child process."""
        with Worker() as worker:
            request = {"source": str(self.path.absolute())}
            told = asked(worker, "onnx-inspect", request, self.path)
        operations = [Operation.from_json(value) for value in told["operations"]]
        size = sum(part.stat().st_size for part in self._parts)
        return account(self.what, size, self.signature, operations, self.precision, told["notes"])

    def identify(self) -> str:
        """The hash of the file and of those with its weights."""
        return "-".join(sha256(part) for part in self._parts)

    def exporters(self) -> Mapping[str, Exporter]:
        """ONNX in other precisions."""
        whole = self.precision == "float32"
        there = ONNX.precisions if whole else frozenset({self.precision})
        reason = f"the file is {self.precision} already: only a float32 one can be stored otherwise"
        absent = dict(ONNX.absent) if whole else dict.fromkeys(PRECISIONS, reason)
        return {
            "onnx": offered(ONNX, there, self._write, absent),
            **{
                name: offered(
                    exporter,
                    frozenset(),
                    self._write,
                    dict.fromkeys(PRECISIONS, _NO_ROAD.format(name)),
                )
                for name, exporter in EXPORTERS.items()
                if name != "onnx"
            },
        }

    def _write(self, job: Job, precision: str, out: Path) -> Written:
        """The file itself, or made from it by the road that a Keras model's ONNX file takes."""
        source = job.scratch / "float32.onnx"
        if not source.exists():
            self._gather(job, source)
        if precision == self.precision:
            shutil.copy(source, out)
            return Written(out)
        return write_onnx(job, precision, out)

    def _gather(self, job: Job, out: Path) -> None:
        """The file with all its weights in it."""
        if not self._scattered:
            shutil.copy(self.path, out)
            return
        job.worker.ask("onnx-gather", {"source": str(self.path.absolute()), "out": str(out)})
