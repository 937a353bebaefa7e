"""Limits of RAM, bytes and latency against the last measurement."""

from __future__ import annotations

from edgepress.benchmarks.number_format import bytes_text, ms_text, share_text
from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow
from edgepress.benchmarks.records.fit import LimitRecord
from edgepress.deploy.fitting.floor import KEPT, MISSED, UNSHOWN
from edgepress.deploy.searching.limits import Limit
from edgepress.deploy.searching.objectives import ROW_FIELDS


def held(
    limit: Limit, measured: BenchmarkRecord, given: BenchmarkRow | None, row: BenchmarkRow | None
) -> LimitRecord:
    """A limit against the last measurement.

    Args:
        limit: The limit.
        measured: That measurement.
        given: Of the given model's float file.
        row: Of the file.
    """
    value = None if row is None else getattr(row, ROW_FIELDS[limit.name])
    interval = row.ci95_ms if row is not None and limit.name == "latency" else None
    if limit.full is not None and value is not None:
        value, interval = _as_share(limit, measured, given, row, value)
    return LimitRecord(
        name=limit.name,
        most=limit.most,
        share=limit.full is not None,
        value=value,
        interval=interval,
        verdict=_verdict(limit, value, interval),
    )


def words_of(found: LimitRecord) -> str:
    """A limit against the last measurement, for people."""
    if found.value is None:
        return f"{found.name} {found.verdict}: it was not measured"
    show = ms_text if found.name == "latency" else bytes_text
    text = share_text if found.share else show
    between = ""
    if found.interval is not None:
        between = f" (95 % interval {text(found.interval[0])} to {text(found.interval[1])})"
    return f"{found.name} {text(found.value)}{between}, limit {text(found.most)} {found.verdict}"


def _as_share(
    limit: Limit,
    measured: BenchmarkRecord,
    given: BenchmarkRow | None,
    row: BenchmarkRow | None,
    value: float,
) -> tuple[float | None, tuple[float, float] | None]:
    """A figure as a share of the given model's, and the interval of a latency's."""
    full = None if given is None else getattr(given, ROW_FIELDS[limit.name])
    if not full or given is None or row is None:
        return None, None
    compared = measured.compared(given, row) if limit.name == "latency" else None
    return (value / full, None) if compared is None else (compared.ratio, compared.ci95)


def _verdict(limit: Limit, value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return UNSHOWN
    if value > limit.most:
        return MISSED
    exact = limit.name != "latency"
    return KEPT if exact or (interval is not None and interval[1] <= limit.most) else UNSHOWN
