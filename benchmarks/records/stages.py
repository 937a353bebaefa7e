"""What the stages of a run leave, and the files that its export publishes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edgepress.benchmarks.records.base import Record, RunPath, Several, Some
from edgepress.benchmarks.records.facts import Finding, LayerFacts
from edgepress.compress.kernel.artifact import ClassDecisions
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.specs.pruning_result import Uncounted


class Verified(Record):
    """How an exported file compared with its source; see `compress.kernel.artifact.Agreement`."""

    passed: bool = True
    max_abs_error: float | None = None
    agreement: float | None = None
    metric: str | None = None
    split: str | None = None
    value: float | None = None
    source_value: float | None = None
    metrics: Several[OutputMetric] = ()
    decisions: Several[ClassDecisions] = ()
    reason: str = ""


class ArtifactRecord(Record):
    """A published file of a run; see `compress.kernel.artifact.Artifact`.

    Attributes:
        path: Where it lies inside the run.
        format: File format.
        quantize: Precision.
        sha256: Hash of the file, by which figures belong to it.
        verified: How it compared with its source, or None where that wasn't checked.
        arena_bytes: The arena that C sources give TensorFlow Lite Micro; None of other files.
    """

    path: Annotated[RunPath, BeforeValidator(RunPath.read)]
    format: str = ""
    quantize: str = ""
    bytes: int | None = None
    gzip_bytes: int | None = None
    zstd_bytes: int | None = None
    sha256: str | None = None
    verified: Verified | None = None
    arena_bytes: int | None = None

    @property
    def file(self) -> str:
        """As `BenchmarkRow.file`."""
        return self.sha256 or self.path

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.rpartition("/")[2]


class Figures(Record):
    """A model in numbers."""

    params: int | None = None
    macs: int | None = None
    bytes: int | None = None
    metric: str | None = None
    split: str | None = None
    value: float | None = None
    metrics: Several[OutputMetric] = ()
    raw_bytes: int | None = None
    gzip_bytes: int | None = None


class StageRecord(Figures):
    """What a stage left.

    Attributes:
        name: Its folder.
        kind: "source", "finetune", "prune", "strip" or "export".
        key: Of everything that went into it.
        float_file: Name of its float32 TFLite file, or why there is none.
        float_sha256: Hash of that file, by which figures belong to it; None where there is none.
        value: The metric on `split`.
        metrics: That of each output, beside what the stage began with.
        layers: Of its model.
        diagnosis: What was seen while it was trained.
        median_ms: Latency of its float file on `device`.
        device: Where that was measured, the same for all stages of a run.
        timing_valid: Whether it is the time of real hardware.
        time_same: Whether it differs from the stage before by no more than noise.
    """

    name: str = ""
    kind: str = ""
    key: str | None = None
    title: str | None = None
    structure: str | None = None
    float_file: str | None = None
    float_sha256: str | None = None
    sparsity: float | None = None
    before: Any = None
    after: Any = None
    history: Some[Any] = Field(default_factory=dict)
    diagnosis: Several[Finding] = ()
    uncounted: Several[Uncounted] = ()
    layers: Several[LayerFacts] = ()
    seconds: float | None = None
    median_ms: float | None = None
    device: str | None = None
    timing_valid: bool = True
    time_same: bool | None = None
    change: Some[float] = Field(default_factory=dict)
    note: str = ""
    time_note: str = ""

    @property
    def file(self) -> str | None:
        """As `BenchmarkRow.file`."""
        return self.float_sha256


class Skipped(Record):
    """A combination of format and precision that doesn't exist, and why."""

    format: str = ""
    quantize: str = ""
    reason: str = ""


class ExportRecord(Record):
    """What the export left."""

    name: str = ""
    kind: str = "export"
    key: str | None = None
    artifacts: Several[ArtifactRecord] = ()
    skipped: Several[Skipped] = ()
    failed: Several[Skipped] = ()
    notes: Several[str] = ()
    seconds: float | None = None

    @property
    def on_all(self) -> list[str]:
        """Notes that aren't of one file, which begin with its name."""
        return [note for note in self.notes if not note.startswith("model_")]


Numbers = Annotated[Figures, BeforeValidator(lambda value: value or {})]
