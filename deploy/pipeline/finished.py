"""What work in a run's folder came to: the folder, and its record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgepress.benchmarks.records.base import Record
from edgepress.deploy.pipeline.run_folder import RunFolder

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Finished(Generic[R]):
    """Finished work.

    Attributes:
        folder: Its folder.
        contents: What the JSON file in it holds.
    """

    folder: Path
    contents: R

    @cached_property
    def record(self) -> dict[str, Any]:
        """What that file holds, as JSON-able values."""
        return self.contents.to_json()

    def to_json(self) -> dict[str, Any]:
        """What the command's `--json` prints."""
        return {"run": str(self.folder), "report": str(RunFolder(self.folder).report)} | self.record
