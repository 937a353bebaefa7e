"""What samples that had no say in any choice tell of a file and its floor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from edgepress.benchmarks.gate.outcomes import Outcomes, Result, read_result
from edgepress.benchmarks.gate.significance import FEWEST, resampled_together
from edgepress.benchmarks.records.fit import FloorRecord
from edgepress.benchmarks.records.rows import BenchmarkRow
from edgepress.benchmarks.statistics.fall_intervals import bootstrap_interval, paired_shares
from edgepress.compress.data.metrics import drop_of

KEPT, UNSHOWN, MISSED = "kept", "not shown", "missed"
_ROUNDING = 1e-9


def floors(before: BenchmarkRow, after: BenchmarkRow, max_drop: float) -> Iterator[FloorRecord]:
    """Hold a file's metric against the floor, by output where there are several.

    Args:
        before: The given model's float file, scored on the same samples in the same run.
        after: The file.
        max_drop: Largest fall: points of a score as a share of 1, the share that an error grows by.
    """
    one, other = _results(before), _results(after)
    for output in dict.fromkeys(other):
        if output in one and (output or len(other) == 1 or "" not in one):
            yield floor(one[output], other[output], max_drop, str(after.split or ""))


def floor(before: Result, after: Result, max_drop: float, split: str = "") -> FloorRecord:
    """Hold one metric against the floor.

    Args:
        before: The given model's outcomes.
        after: The file's, of the same samples.
        max_drop: Largest fall.
        split: Where the samples are from.
    """
    drop = drop_of(after.metric, before.value, after.value)
    ends = _interval(before, after)
    verdict = MISSED if drop > max_drop + _ROUNDING else UNSHOWN
    if ends is not None and verdict == UNSHOWN and ends[1] <= max_drop + _ROUNDING:
        verdict = KEPT
    return FloorRecord(
        output=after.output,
        metric=after.metric,
        split=split,
        samples=after.n,
        before=before.value,
        after=after.value,
        drop=drop,
        interval=ends,
        verdict=verdict,
        needed=_needed(before, after, ends, max_drop) if verdict == UNSHOWN else None,
    )


def _results(row: BenchmarkRow) -> Mapping[str, Result]:
    outcomes: Any = (row.model_extra or {}).get("outcomes") or ()
    found = (read_result(one) for one in outcomes)
    return {result.output: result for result in found if result is not None}


def _interval(before: Result, after: Result) -> tuple[float, float] | None:
    """95 % interval of the fall; None where the samples aren't the same or too few."""
    same = before.samples_hash and before.samples_hash == after.samples_hash
    if not same or before.n != after.n or after.n < FEWEST:
        return None
    changed = _changed(before, after)
    if changed is not None:
        return paired_shares(*changed, after.n)
    one, other = resampled_together(before, after)
    # As `drop_of` takes a fall.
    falls = one - other
    if not after.higher_is_better:
        falls = np.divide(-falls, np.abs(one), out=other.copy(), where=one != 0)
    if _counts(after) and not falls.any():
        return None  # no decision changed: draws of them can't show how rare such changes are
    return bootstrap_interval(falls, after.n)


def _counts(result: Result) -> bool:
    """Whether a metric follows from decisions, which small differences leave as they are."""
    by_size = isinstance(result, Outcomes) and result.statistic in ("explained", "decibels")
    return result.higher_is_better and not by_size


def _changed(before: Result, after: Result) -> tuple[int, int] | None:
    """How many decisions were lost and won; None where samples aren't decided one by one."""
    if not isinstance(before, Outcomes) or not isinstance(after, Outcomes):
        return None
    if not before.decisions or not after.decisions:
        return None
    was, became = before.parts > 0.5, after.parts > 0.5
    return int(np.sum(was & ~became)), int(np.sum(~was & became))


def _needed(
    before: Result, after: Result, ends: tuple[float, float] | None, max_drop: float
) -> int | None:
    """Samples with which the same fall would be shown to lie within the floor."""
    drop, samples = drop_of(after.metric, before.value, after.value), after.n
    if ends is None or max_drop <= drop:
        return None
    # An interval is at least as wide as the root of the number of samples makes it.
    most = math.ceil(samples * ((ends[1] - drop) / (max_drop - drop)) ** 2)
    changed = _changed(before, after)
    if changed is None:
        return most
    lost, won = (count / samples for count in changed)
    few, enough = samples, most
    while enough - few > 1:
        middle = (few + enough) // 2
        if paired_shares(lost * middle, won * middle, middle)[1] <= max_drop:
            enough = middle
        else:
            few = middle
    return enough


def words_of(found: FloorRecord, max_drop: float) -> str:
    """A floor for people."""
    where = f" of output '{found.output}'" if found.output else ""
    shown = f"{found.metric}{where} {found.before:.4f} → {found.after:.4f} on {found.split}"
    if found.interval is None:
        return f"{shown}: floor {found.verdict}, no interval can be taken"
    low, high = found.interval
    verdict = (
        f"{shown}: fall {found.drop:.4f}, 95 % interval {low:.4f} to {high:.4f}, floor"
        f" {max_drop:g} {found.verdict}"
    )
    if found.verdict == UNSHOWN and found.needed is not None:
        verdict += f" with {found.samples} samples; about {found.needed} would show it"
    return verdict
