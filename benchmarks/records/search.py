"""What `search.json` holds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from edgepress.benchmarks.records.base import Record, Several, Some
from edgepress.benchmarks.records.rows import BenchmarkRecord


def _checked(figures: dict[str, Any]) -> dict[str, Any]:
    """Refuse figures that no table could show."""
    for name, value in figures.items():
        if not isinstance(value, str | None if name == "split" else int | float | None):
            raise ValueError(f"the figure '{name}' is no {'text' if name == 'split' else 'number'}")
    return figures


class TrialRecord(Record):
    """One recipe that a search tried.

    Attributes:
        number: From 0.
        folder: Its run, relative to the search's folder.
        values: What varied, by place in the recipe.
        accepted: Whether its run was.
        artifact: The file that was judged, relative to the trial's folder.
        sha256: Hash of that file.
        figures: Its objectives; `latency` and `memory` are those of the last measurement where
            `measured_last` says so, else those of the trial.
        reason: Why it failed, was stopped or isn't accepted; empty otherwise.
        stopped_after: After how many epochs it was stopped early, since its curve lay behind those
            of others; None for all others.
    """

    number: int
    folder: str
    values: Some[Any] = Field(default_factory=dict)
    accepted: bool = False
    artifact: str = ""
    sha256: str | None = None
    figures: Annotated[Some[Any], AfterValidator(_checked)] = Field(default_factory=dict)
    reason: str = ""
    stopped_after: int | None = None


class SearchRecord(Record):
    """A finished search.

    Attributes:
        objectives: What recipes are judged by.
        chosen_by: The split that `metric` is measured on.
        split: The split that `value` is reported on.
        metric: The task's metric.
        trials: Every recipe that was tried.
        front: Numbers of the accepted trials that no other beats in every objective.
        front_by: Which figures that follows from.
        headline: What came out, in one line.
        benchmark: The last measurement: all files that could be on the front, interleaved.
    """

    version: int = 2
    objectives: Several[str] = ()
    chosen_by: str = ""
    split: str = ""
    metric: str = ""
    trials: Several[TrialRecord] = ()
    front: Several[int] = ()
    front_by: str = ""
    headline: str = ""
    benchmark: BenchmarkRecord = BenchmarkRecord()
