"""What an export gave: files, and why others are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.artifact import Agreement, Artifact
from edgepress.deploy.exporting.next_steps import after_failure, after_skip


@dataclass(frozen=True)
class Skipped:
    """A combination that wasn't written, and why."""

    format: str
    quantize: str
    reason: str

    @property
    def next_step(self) -> str:
        """What to try; empty where the reason says it."""
        return after_skip(self.format, self.quantize, self.reason)


@dataclass(frozen=True)
class Failed:
    """A file that was written, failed its verification and was withheld."""

    format: str
    quantize: str
    reason: str
    verified: Agreement | None
    asked: tuple[str, ...] = ()

    @property
    def next_step(self) -> str:
        """What to try, of what wasn't asked for already."""
        return after_failure(self.format, self.quantize, self.asked, self.verified is not None)

    def to_json(self) -> dict[str, Any]:
        """What people are told, as JSON-able values."""
        return {
            "format": self.format,
            "quantize": self.quantize,
            "reason": self.reason,
            "verified": self.verified.to_json() if self.verified else None,
            "next_step": self.next_step,
        }


@dataclass(frozen=True)
class ExportResult(Sequence[Artifact]):
    """What an export gave; as a sequence, its artifacts.

    Attributes:
        artifacts: The files, each verified.
        skipped: Combinations that don't exist for this model, with reasons.
        failed: Files that failed their verification; they aren't in the folder.
        notes: What people should know of the files, one line each.
        log: What converters printed, kept where one of them died.
    """

    artifacts: tuple[Artifact, ...]
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = field(default=())
    notes: tuple[str, ...] = ()
    log: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether there are files and none of those written failed."""
        return bool(self.artifacts) and not self.failed

    def __getitem__(self, index: Any) -> Any:
        return self.artifacts[index]

    def __len__(self) -> int:
        return len(self.artifacts)

    def to_json(self) -> dict[str, Any]:
        """All fields but the log, whose name is another one each time, as JSON-able values."""
        return {
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "skipped": [{**vars(s), "next_step": s.next_step} for s in self.skipped],
            "failed": [failed.to_json() for failed in self.failed],
            "notes": list(self.notes),
        }
