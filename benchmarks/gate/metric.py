"""The metric of one row against its earlier self.

A fall is a regression when it exceeds the tolerance and is more than luck: by a paired test on the
same samples where both results hold them, else by an interval for different samples, and the
reason says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.gate.change import BETTER, SAME, UNKNOWN, WORSE, Change, within
from edgepress.benchmarks.gate.outcomes import Result, close, read_result
from edgepress.benchmarks.gate.rows import output_figures
from edgepress.benchmarks.gate.significance import FEWEST, Evidence, paired, unpaired
from edgepress.benchmarks.number_format import is_share
from edgepress.compress.kernel.figures import fall

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Figure:
    """A metric of a row: over all outputs, or of one."""

    metric: str
    value: float | None
    split: str
    outcomes: Result | None
    higher_is_better: bool | None


def metric_changes(old: Row, new: Row, max_drop: float) -> Iterator[Change]:
    """The changes of the metric, and of each output's where there are several.

    Args:
        old: The earlier row.
        new: The present one.
        max_drop: Largest fall that counts as the same: points of a score as a share of 1, or the
            share by which an error grows.
    """
    before, after = _figures(old), _figures(new)
    name, device = str(new.get("label") or new["artifact"]), str(new.get("device") or "local")
    for output in dict.fromkeys([*after, *before]):
        if output and len(before) == 1:
            continue  # a result of before there were figures by output
        one, other = before.get(output), after.get(output)
        figure = other if other is not None and other.metric else one
        if figure is None or not figure.metric:
            continue
        quantity = f"{figure.metric} of output '{output}'" if output else figure.metric
        values = one.value if one else None, other.value if other else None
        if values == (None, None):
            continue
        problem, verdict = _incomparable(one, other, new)
        if problem or one is None or other is None:
            yield Change(name, device, quantity, *values, verdict, problem, max_drop)
            continue
        verdict, reason, evidence = _judged(one, other, max_drop)
        yield Change(
            name,
            device,
            quantity,
            *values,
            verdict,
            reason,
            max_drop,
            evidence.samples if evidence else None,
            evidence.p_value if evidence else None,
            evidence.interval if evidence else None,
            evidence.method if evidence else "",
        )


def _figures(row: Row) -> dict[str, _Figure]:
    """The metrics of a row by output; "" is the row's own."""
    own = next((o for o in row.get("outcomes") or () if not o.get("output")), None)
    found = {"": _figure(row, own)}
    for output in output_figures(row):
        figure = _figure(
            {**output, "split": row.get("split")}, output if "parts" in output else None
        )
        found[str(output["output"])] = figure
    return found


def _figure(row: Row, output: Row | None) -> _Figure:
    value = row.get("value")
    outcomes = read_result(output) if output else None
    if outcomes and (value is None or not close(outcomes.value, value)):
        outcomes = None  # the samples are those of another figure
    direction = (output or row).get("higher_is_better", row.get("higher_is_better"))
    return _Figure(
        str(row.get("metric") or ""), value, str(row.get("split") or ""), outcomes, direction
    )


def _incomparable(one: _Figure | None, other: _Figure | None, new: Row) -> tuple[str, str]:
    """Why two figures can't be held against each other, and the verdict; empty where they can."""
    if one is None or one.value is None:
        return "the earlier result has no such figure", UNKNOWN
    where = f" on {one.split}" if one.split else ""
    if other is None or other.value is None:
        if new.get("value_problem"):
            return str(new["value_problem"]), WORSE
        lost = "couldn't be measured" if new.get("metric") else "isn't measured, without --data,"
        return f"{one.metric} was measured{where} earlier, and {lost} today", UNKNOWN
    if one.metric != other.metric:
        return f"the earlier result has {one.metric} {one.value:.4g}{where}", UNKNOWN
    if one.split != other.split:
        return f"measured{where} earlier, on {other.split or 'no split'} today", UNKNOWN
    return "", SAME


def _judged(one: _Figure, other: _Figure, max_drop: float) -> tuple[str, str, Evidence | None]:
    before, after = one.value or 0.0, other.value or 0.0
    rising = _higher_is_better(one, other)
    worse = fall(before, after, rising)
    evidence = _evidence(one, other)
    change = _change_words(before, after, other.metric, rising)
    allowed = _tolerance_words(max_drop, other.metric, rising)
    tested = f"; {evidence.words}" if evidence else "; no test: it can't be taken sample by sample"
    if before == after:
        return SAME, f"unchanged{tested}", evidence
    if within(abs(worse), max_drop):
        return SAME, f"{change}, within the tolerance of {allowed}{tested}", evidence
    if evidence and not evidence.significant and other.outcomes and other.outcomes.n < FEWEST:
        return (
            UNKNOWN,
            f"{change}, of too few samples to tell{tested}; tolerance {allowed}",
            evidence,
        )
    if evidence and not evidence.significant:
        return SAME, f"{change}, not significant{tested}; tolerance {allowed}", evidence
    verdict = WORSE if worse > 0 else BETTER
    return verdict, f"{change}, beyond the tolerance of {allowed}{tested}", evidence


def _evidence(one: _Figure, other: _Figure) -> Evidence | None:
    old, new = one.outcomes, other.outcomes
    if new is None:
        return None
    if old and old.samples_hash and old.samples_hash == new.samples_hash and old.n == new.n:
        return paired(old, new)
    why = "the earlier result holds no outcomes by sample"
    if old:
        why = f"other samples than the {old.n} earlier ones"
    return unpaired((one.value or 0.0, old), (other.value or 0.0, new), why)


def _higher_is_better(one: _Figure, other: _Figure) -> bool:
    for figure in (other, one):
        if figure.higher_is_better is not None:
            return figure.higher_is_better
    from edgepress.compress.data.metrics import METRICS, metric_name

    name = metric_name(other.metric)
    return METRICS[name].higher_is_better if name in METRICS else True


def _change_words(before: float, after: float, metric: str, rising: bool) -> str:
    if is_share(metric):
        return f"{100 * (after - before):+.2f} points"
    if rising or not before:
        return f"{after - before:+.4g}"
    return f"{(after - before) / abs(before):+.1%}"


def _tolerance_words(max_drop: float, metric: str, rising: bool) -> str:
    if is_share(metric):
        return f"{100 * max_drop:.4g} points"
    return f"{max_drop:.4g}" if rising else f"{max_drop:.2%}"
