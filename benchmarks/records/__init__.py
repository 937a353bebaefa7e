"""What a run leaves for others to read: typed, with a version, read and written here alone."""

from edgepress.benchmarks.records.base import RunPath
from edgepress.benchmarks.records.reading import read_run, run_record, validated, write_run
from edgepress.benchmarks.records.rows import BenchmarkRecord, BenchmarkRow, measured_inside
from edgepress.benchmarks.records.run import VERSION, RunRecord
from edgepress.benchmarks.records.stages import ArtifactRecord, ExportRecord, StageRecord
from edgepress.benchmarks.records.verdict import (
    BudgetRecord,
    DeviceFailure,
    RefusedFile,
    UnmetCheck,
    Verdict,
    by_file,
    fit_line,
)

__all__ = [
    "VERSION",
    "ArtifactRecord",
    "BenchmarkRecord",
    "BenchmarkRow",
    "BudgetRecord",
    "DeviceFailure",
    "ExportRecord",
    "RefusedFile",
    "RunPath",
    "RunRecord",
    "StageRecord",
    "UnmetCheck",
    "Verdict",
    "by_file",
    "fit_line",
    "measured_inside",
    "read_run",
    "run_record",
    "validated",
    "write_run",
]
