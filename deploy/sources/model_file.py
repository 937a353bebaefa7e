"""What a kind of model file has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import EXPORTERS, Exporter
from edgepress.deploy.exporters.exporter import Trace, Write
from edgepress.deploy.process.sharing import working
from edgepress.deploy.process.worker import Refused, Worker
from edgepress.deploy.quantize.precision import PRECISIONS
from edgepress.deploy.sources.contents.account import FileInspection, account
from edgepress.deploy.sources.contents.operation import Operation
from edgepress.deploy.sources.signature import Signature


class ForeignFile(ABC):
    """A model file that was opened as data and found whole.

    Attributes:
        what: What it is, with its article.
        path: The file or folder.
        signature: What it takes and gives.
        precision: How it stores numbers, a name in `PRECISIONS`.
        converts: Whether a converter makes its files, so that the choices of a conversion hold.
    """

    what: str
    path: Path
    signature: Signature
    precision: str
    converts: bool = False

    @abstractmethod
    def inspect(self) -> FileInspection:
        """Its operators, added up.

        Raises:
            DeviceError: What looks at it crashed.
        """

    @abstractmethod
    def exporters(self) -> Mapping[str, Exporter]:
        """The formats that it can be converted to, by name, and why it has none to the others."""

    @abstractmethod
    def identify(self) -> str:
        """Its identity."""

    def runtime(self, threads: int = 1) -> Runtime:
        """What runs it, in a child process."""
        return Runtime(self.path, threads)

    @property
    def trace(self) -> Trace | None:
        """Writes its graph for converters, where it has one that they take."""
        return None


def asked(worker: Worker, task: str, request: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a child says of a file.

    Raises:
        InputError: The library in the child refuses the file.
        DeviceError: The child crashed or was too slow.
    """
    try:
        return worker.ask(task, request)
    except Refused as error:
        raise InputError(f"'{path}' can't be read: {error.message}") from None


def inspected(
    file: ForeignFile, task: str, request: Mapping[str, Any], parts: Iterable[Path]
) -> FileInspection:
    """A file's operators, added up by a child process.

    Args:
        file: What is looked at.
        task: The child's.
        request: What else the task needs, beside the file's path as `source`.
        parts: The files whose bytes are those of the model.

    Raises:
        InputError: The library in the child refuses the file.
        DeviceError: The child crashed or was too slow.
    """
    with working() as worker:
        reply = asked(worker, task, {"source": str(file.path.absolute()), **request}, file.path)
    operations = [Operation.from_json(value) for value in reply["operations"]]
    size = sum(part.stat().st_size for part in parts)
    return account(
        file.what, size, file.signature, operations, file.precision, reply["notes"], file.path
    )


def stored_already(precision: str) -> dict[str, str]:
    """Why a file that isn't float32 has no other precisions, by name."""
    reason = f"the file is {precision} already: only a float32 one can be stored otherwise"
    return dict.fromkeys(PRECISIONS, reason)


def not_convertible(what: str, write: Write, there: Iterable[str]) -> dict[str, Exporter]:
    """The formats that a kind of file can't be converted to.

    Args:
        what: How people call the kind.
        write: What would write them.
        there: The formats that it has.
    """
    return {
        name: offered(
            exporter,
            frozenset(),
            write,
            dict.fromkeys(
                PRECISIONS,
                f"can't convert {what} to {name}: export the model that the file was made from",
            ),
        )
        for name, exporter in EXPORTERS.items()
        if name not in there
    }


def offered(
    exporter: Exporter, there: frozenset[str], write: Write, absent: Mapping[str, str]
) -> Exporter:
    """A format as a kind of file has it.

    Args:
        exporter: The format as Keras models have it.
        there: Precisions that it has here.
        write: Writes one.
        absent: Why others are missing.
    """
    return replace(exporter, precisions=there, write=write, absent=absent)
