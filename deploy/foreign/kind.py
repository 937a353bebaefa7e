"""What a kind of model file has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepress.benchmarks.runtime import Runtime
from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import Exporter
from edgepress.deploy.exporters.exporter import Trace, Write
from edgepress.deploy.foreign.account import FileInspection
from edgepress.deploy.foreign.signature import Signature
from edgepress.deploy.worker import Refused, Worker


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
        """The formats that it has a road to, by name, and why it has none to the others."""

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
