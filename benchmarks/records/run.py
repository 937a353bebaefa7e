"""What `run.json` holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edgepress.benchmarks.records.base import Record, Several, Some
from edgepress.benchmarks.records.facts import DataFacts
from edgepress.benchmarks.records.rows import BenchmarkRecord, BenchmarkRow, TimeChange, renamed
from edgepress.benchmarks.records.stages import (
    ArtifactRecord,
    Figures,
    Numbers,
    Skipped,
    StageRecord,
)
from edgepress.benchmarks.records.verdict import DeviceFailure, RefusedFile, UnmetCheck, Verdict

# 2: rows and stages carry the hash of their file, and the verdict is part of the record.
VERSION = 2


@dataclass(frozen=True)
class StageTime:
    """The latency of a stage's float file.

    Attributes:
        ms: Its median; None where it wasn't measured.
        device: Where.
        real: Whether it is the time of real hardware.
        change: Since the stage before; None where the two can't be compared.
    """

    ms: float | None
    device: str | None
    real: bool
    change: TimeChange | None


class RunRecord(Record):
    """Everything measured in a run. Every part may be missing.

    Attributes:
        version: Of the record.
        date: When it was written, in UTC.
        command: The command line; None where a program called the library.
        commit: Of the repository that the run was started in.
        model: The model as the recipe names it.
        before: The given model.
        after: The model that was exported.
        stages: What each stage left.
        artifacts: The published files.
        skipped: Files that don't exist for this model.
        rejected: Files that failed their verification.
        benchmark: What was measured.
        verdict: Whether the run is accepted, and why not.
        unmet: The verdict's checks in words.
        accepted: The verdict's first word.
    """

    version: int = VERSION
    edgepress: str | None = None
    date: str | None = None
    command: str | None = None
    commit: str | None = None
    model: str | None = None
    seed: int | None = None
    versions: Some[Any] = Field(default_factory=dict)
    machine: Some[Any] = Field(default_factory=dict)
    data: Annotated[DataFacts, BeforeValidator(lambda value: value or {})] = DataFacts()
    warnings: Several[str] = ()
    recipe: Some[Any] = Field(default_factory=dict)
    before: Numbers = Figures()
    after: Numbers = Figures()
    stages: Several[StageRecord] = ()
    artifacts: Several[ArtifactRecord] = ()
    skipped: Several[Skipped] = ()
    rejected: Several[Skipped] = ()
    benchmark: Annotated[BenchmarkRecord, BeforeValidator(lambda v: v or {})] = BenchmarkRecord()
    verdict: Verdict | None = None
    unmet: Several[str] = ()
    accepted: bool | None = None

    @cached_property
    def judged(self) -> Verdict | None:
        """The verdict; of records that have none, what they say in its place."""
        if self.verdict is not None or self.accepted is None:
            return self.verdict
        return Verdict.of(
            tuple(UnmetCheck(what="", where="", text=text) for text in self.unmet),
            tuple(
                RefusedFile(format=r.format, quantize=r.quantize, reason=r.reason)
                for r in self.rejected
            ),
            tuple(
                DeviceFailure(device=f.device, artifact=f.artifact, reason=f.reason)
                for f in self.benchmark.failures
            ),
            self.accepted,
        )

    @cached_property
    def stage_times(self) -> tuple[StageTime, ...]:
        """Each stage's latency, all of one device that ran the files in one way."""
        found = self.benchmark.reference(stage.file for stage in self.stages)
        known = next((row for row in found if row), None)
        rows = [
            row or self._told_time(stage, known)
            for stage, row in zip(self.stages, found, strict=True)
        ]
        earlier = (None, *rows)
        return tuple(
            StageTime(
                row.median_ms if row else None,
                row.device if row else None,
                row is None or row.timing_valid,
                self.benchmark.change(before, row),
            )
            for before, row in zip(earlier, rows, strict=False)
        )

    def _told_time(self, stage: StageRecord, known: BenchmarkRow | None) -> BenchmarkRow | None:
        """What a stage says itself where its row is missing from the record."""
        if stage.median_ms is None or self.benchmark.rows_of(stage.file):
            return None
        alike = known or BenchmarkRow()
        if stage.device not in (None, alike.device) and known is not None:
            return None
        return BenchmarkRow(
            artifact=stage.name,
            device=stage.device or alike.device,
            threads=alike.threads,
            batch=alike.batch,
            timing_valid=stage.timing_valid and alike.timing_valid,
            median_ms=stage.median_ms,
        )

    def at(self, folder: Path) -> dict[str, Any]:
        """What is recorded, with the paths of the run's files below its folder.

        Args:
            folder: The run's folder.
        """
        return {**self.to_json(), **_rooted(self, folder)}


def _rooted(record: RunRecord, folder: Path) -> dict[str, Any]:
    """The parts that name files of the run, with their full paths."""

    def full(text: str) -> str:
        return f"{folder}/{text}" if text.startswith(("artifacts/", "stages/")) else text

    benchmark = record.benchmark.to_json()
    artifacts = [{**a.to_json(), "path": full(a.path)} for a in record.artifacts]
    return {"artifacts": artifacts, "benchmark": renamed(benchmark, full)}
