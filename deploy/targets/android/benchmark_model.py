"""Reading what TensorFlow Lite's `benchmark_model` prints.

Source: tensorflow/lite/tools/benchmark/benchmark_model.cc, core/stats/stat_summarizer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepress.compress.errors import DeviceError

_NUMBER = r"([-+\d.eE]+)"


@dataclass(frozen=True)
class OperatorTime:
    """One line of its operator profile."""

    operator: str
    name: str
    mean_ms: float
    share: float


@dataclass(frozen=True)
class Report:
    """What one run told.

    Attributes:
        n: Inferences that counted.
        mean_us: Their mean, in microseconds.
        min_us: The shortest.
        max_us: The longest.
        std_us: Standard deviation.
        median_us: Median, which only newer builds print.
        p95_us: 95th percentile, the same.
        init_us: Loading and planning.
        first_us: The first inference.
        peak_bytes: Growth of the process's memory.
        operators: Profile by operator, where it was asked for.
    """

    n: int
    mean_us: float
    min_us: float
    max_us: float
    std_us: float
    median_us: float | None
    p95_us: float | None
    init_us: float | None
    first_us: float | None
    peak_bytes: int | None
    operators: tuple[OperatorTime, ...] = ()


def parse_report(text: str) -> Report:
    """Read the output of one run.

    Raises:
        DeviceError: It holds no figures.
    """
    series = [line for line in text.splitlines() if re.search(r"\bcount=\d+", line)]
    timed = [line for line in series if not line.lstrip().startswith("Timings")]
    if not timed or _value("count", timed[-1]) in (None, 0.0):
        last = next((x for x in reversed(text.splitlines()) if x.strip()), "nothing")
        raise DeviceError(f"benchmark_model printed no figures: it said '{last.strip()[:200]}'")
    line = timed[-1]
    # A series of equal values is printed as its current value alone.
    mean = _value("avg", line) or _value("curr", line) or 0.0

    def or_mean(name: str) -> float:
        value = _value(name, line)
        return mean if value is None else value

    return Report(
        n=int(_value("count", line) or 0),
        mean_us=mean,
        min_us=or_mean("min"),
        max_us=or_mean("max"),
        std_us=_value("std", line) or 0.0,
        median_us=_value("median", line),
        p95_us=_value("p95", line),
        init_us=_found(rf"Init: {_NUMBER}", text),
        first_us=_found(rf"First inference: {_NUMBER}", text),
        peak_bytes=_peak(text),
        operators=tuple(_operators(text)),
    )


def outputs_of(name: str) -> str:
    """The output's name out of an operator's, which is `[output]:position`."""
    match = re.fullmatch(r"\[(.*)\](:\d+)?", name)
    return match[1] if match else name


def _value(name: str, line: str) -> float | None:
    return _found(rf"\b{name}={_NUMBER}", line)


def _found(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text)
    return float(match.group(1)) if match else None


def _peak(text: str) -> int | None:
    patterns = (
        rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}",
        rf"footprint[^\n]*\(MB\):[^\n]*overall={_NUMBER}",
    )
    for pattern in patterns:
        value = _found(pattern, text)
        if value is not None:
            return round(value * 1e6)
    return None


def _operators(text: str) -> list[OperatorTime]:
    """The table "Run Order": node type, first, mean ms, %, cumulative %, memory, times, name."""
    parts = re.split(r"=+ Run Order =+", text)
    if len(parts) < 2:
        return []
    found = []
    for line in parts[-1].splitlines():
        if line.strip().startswith("===="):
            break
        cells = [cell.strip() for cell in line.split("\t") if cell.strip()]
        if len(cells) < 5 or cells[0].startswith("["):
            continue
        share = next((c for c in cells if c.endswith("%")), None)
        if share is not None:
            mean = float(cells[cells.index(share) - 1])
            found.append(OperatorTime(cells[0], cells[-1], mean, float(share[:-1]) / 100))
    return found
