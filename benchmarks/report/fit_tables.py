"""Tables of a fit."""

from __future__ import annotations

from edgepress.benchmarks.number_format import (
    ABSENT,
    bytes_text,
    energy_text,
    metric_text,
    ms_text,
    significant,
)
from edgepress.benchmarks.records.fit import FitRecord, PickRecord
from edgepress.benchmarks.report.view_model import Grid


def picks_grid(record: FitRecord) -> Grid:
    """The picks: what was done, what is minimised, and the metric on the report split."""
    columns = ("pick", "plan", record.minimise, "of the given", f"{record.metric} ({record.split})")
    return Grid(columns, tuple(_row(record, pick) for pick in record.picks), ())


def _row(record: FitRecord, pick: PickRecord) -> tuple[str, ...]:
    value = next((f.after for f in pick.floors), None)
    return (
        ", ".join(pick.names),
        pick.words,
        _objective(record.minimise, pick.objective),
        ABSENT if pick.ratio is None else f"{pick.ratio:.2f}",
        ABSENT if value is None else metric_text(record.metric, value),
    )


def _objective(name: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    if name == "latency":
        return ms_text(value)
    if name == "energy":
        return energy_text(value)
    in_bytes = name.endswith("bytes") or name in ("memory", "ram")
    return bytes_text(value) if in_bytes else significant(value)
