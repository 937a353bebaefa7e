"""What may not be exceeded: RAM, bytes, latency, as numbers or as shares of the float file's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.number_format import bytes_text, ms_text, share_text
from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow
from edgepress.benchmarks.records.fit import LimitRecord
from edgepress.compress.errors import CheckFailed
from edgepress.compress.specs.amounts import latency_ms
from edgepress.deploy.fitting.floor import KEPT, MISSED, UNSHOWN
from edgepress.deploy.searching.objectives import ROW_FIELDS

_WORDS = {"ram": "RAM", "bytes": "a file", "latency": "a latency"}


@dataclass(frozen=True)
class Limit:
    """The most that a figure may be.

    Attributes:
        name: "ram", "bytes" or "latency".
        most: In bytes or ms, or a share.
        full: The figure of the given model's float file, which a share is of; None for a number.
    """

    name: str
    most: float
    full: float | None = None

    @property
    def flag(self) -> str:
        """The option."""
        return f"--max-{self.name}"

    def over(self, figures: Mapping[str, Any]) -> float:
        """The share by which a trial exceeds it; below 0 where there is room.

        Args:
            figures: Of the trial. A share of the latency is taken from files that were timed in
                turns, where they were.
        """
        return self._value(figures) / self.most - 1

    def enough(self, figures: Mapping[str, Any]) -> str:
        """The limit that would let a trial pass, as the command line takes it, rounded up."""
        value = self._value(figures)
        if self.full is not None:
            return f"{self.flag} {math.ceil(1000 * value) / 10:g}%"
        if self.name == "latency":
            return f"{self.flag} {_up(value):g}ms"
        return f"{self.flag} {math.ceil(value)}B"

    def words(self) -> str:
        """The limit for people."""
        if self.full is not None:
            return f"{_WORDS[self.name]} of at most {share_text(self.most)} of the given model's"
        shown = ms_text(self.most) if self.name == "latency" else bytes_text(self.most)
        return f"{_WORDS[self.name]} of at most {shown}"

    def _value(self, figures: Mapping[str, Any]) -> float:
        value = float(figures[self.name])
        if self.full is None:
            return value
        ratio = figures.get("latency_ratio") if self.name == "latency" else None
        return value / self.full if ratio is None else float(ratio)


def limits_of(asked: Mapping[str, float | str], given: BenchmarkRow | None) -> list[Limit]:
    """The limits, their shares held against the given model's float file.

    Args:
        asked: By objective, as `FitSpec.limits` has them.
        given: That file as it was measured.

    Raises:
        CheckFailed: A limit is a share of what wasn't measured.
    """
    found = []
    for name, most in asked.items():
        number = latency_ms(most) if isinstance(most, str) else float(most)
        if isinstance(most, str) or number > 1:
            found.append(Limit(name, number))
            continue
        full = None if given is None else getattr(given, ROW_FIELDS[name])
        if not full:
            raise CheckFailed(
                f"the {name} of the given model's float file was not measured, so a share of it"
                " can't be kept",
                f"give --max-{name} as a number, such as {'20ms' if name == 'latency' else '64kB'}",
            )
        found.append(Limit(name, number, float(full)))
    return found


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


def _up(value: float) -> float:
    """Rounded up to three digits."""
    digits = 2 - math.floor(math.log10(value))
    return math.ceil(value * 10**digits) / 10**digits
