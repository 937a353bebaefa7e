"""What a fit came to in words; where no file will do, what comes near, and what it would take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepress.benchmarks.records.fit import FitRecord, NearestRecord, PickRecord
from edgepress.benchmarks.records.search import TrialRecord
from edgepress.compress.data import Dataset
from edgepress.compress.errors import CheckFailed
from edgepress.deploy.fitting.choosing import Tried
from edgepress.deploy.fitting.floor import MISSED, UNSHOWN
from edgepress.deploy.fitting.limits import words_of
from edgepress.deploy.fitting.picking import SMALLEST
from edgepress.deploy.fitting.spec import FitSpec
from edgepress.deploy.pipeline.finished import Finished
from edgepress.deploy.searching.limits import Limit


@dataclass(frozen=True)
class FitResult(Finished[FitRecord]):
    """A fit that came to an end, or as far as its time went, with what `fit.json` holds."""

    @property
    def picks(self) -> Mapping[str, PickRecord]:
        """The files to choose from, by name: safest, knee, smallest."""
        return {name: pick for pick in self.contents.picks for name in pick.names}


def check_fit(found: FitResult) -> None:
    """Raise where no file keeps floor and limits, or a pick misses one when it is measured last.

    Raises:
        CheckFailed: Says which, and what to try.
    """
    record = found.contents
    if not record.picks:
        way_out = told(record.nearest) or f"a larger --max-drop than {record.max_drop:g}"
        raise CheckFailed(record.headline, f"more time, or: {way_out}")
    missed = [pick for pick in record.picks if pick.missed]
    if missed:
        names = ", ".join(name for pick in missed for name in pick.names)
        limits = [words_of(one) for p in missed for one in p.limits if one.verdict == MISSED]
        what = f"the floor of {record.max_drop:g} on {record.split} data"
        if any(one.verdict == MISSED for pick in missed for one in pick.floors):
            limits.insert(0, what)
        raise CheckFailed(
            f"the {names} pick misses {'; '.join(limits)}",
            f"choose another pick, or go on with more time: edgepress fit --resume {found.folder}",
        )


def headline(
    found: Sequence[PickRecord], asked: FitSpec, data: Dataset, limits: Sequence[Limit], tried: int
) -> str:
    """What came out, in one line.

    Args:
        found: The picks.
        asked: What the fit was asked for.
        data: Its data.
        limits: What may not be exceeded.
        tried: How many trials there were.
    """
    floor = " and ".join(
        [f"a fall of at most {asked.max_drop:g}", *(limit.words() for limit in limits)]
    )
    if not found:
        return f"none of {tried} trials keeps {floor} on validation data"
    smallest = next(pick for pick in found if SMALLEST in pick.names)
    share = "" if smallest.ratio is None else f", {smallest.ratio:.2f} of the given model's"
    line = f"{smallest.words}{share} {asked.minimise}"
    verdicts = {one.verdict for pick in found for one in pick.floors}
    verdicts |= {one.verdict for pick in found for one in pick.limits}
    split = data.report_split.name
    seen = "" if data.test is not None and data.val is not None else ", which choices were made by"
    if MISSED in verdicts:
        return f"{line}; a pick misses {floor} on {split} data{seen}"
    if UNSHOWN in verdicts or not all(pick.floors for pick in found):
        return f"{line}; {floor} holds on {split} data{seen}, but not beyond doubt"
    return f"{line}; {floor} is shown on {split} data{seen}"


def nearest(
    tried: Sequence[Tried], trials: Sequence[TrialRecord], limits: Sequence[Limit], max_drop: float
) -> tuple[NearestRecord, ...]:
    """The file within the limits that falls least, and the one within the floor nearest to them.

    Where there is neither, the file that misses both by least, each miss as a multiple of what is
    allowed.

    Args:
        tried: All trials.
        trials: Their records, in the same order.
        limits: What may not be exceeded.
        max_drop: Largest fall of the metric.
    """
    files = {n: t for n, t in enumerate(tried) if t.drop is not None}
    within = [n for n, t in files.items() if t.fits]
    kept = [n for n, t in files.items() if (t.drop or 0.0) <= max_drop]
    found = []
    if within:
        found.append(min(within, key=lambda n: (files[n].drop, n)))
    if kept:
        found.append(min(kept, key=lambda n: (files[n].over, n)))
    if not found and files:
        found.append(min(files, key=lambda n: (_misses(files[n], max_drop), n)))
    return tuple(_told(files[n], trials[n], limits, max_drop) for n in dict.fromkeys(found))


def _misses(one: Tried, max_drop: float) -> float:
    drop = max(0.0, (one.drop or 0.0) - max_drop) / max(max_drop, 1e-3)
    return drop + max(0.0, one.over)


def _told(
    one: Tried, trial: TrialRecord, limits: Sequence[Limit], max_drop: float
) -> NearestRecord:
    drop = one.drop or 0.0
    floor = [f"--max-drop {math.ceil(1e4 * drop) / 1e4:g}"] if drop > max_drop else []
    more = [limit.enough(trial.figures) for limit in limits if limit.over(trial.figures) > 0]
    return NearestRecord(
        trial=trial.number,
        words=words_of_trial(trial),
        file=f"{trial.folder}/{trial.artifact}",
        needs=(*floor, *more),
    )


def words_of_trial(trial: TrialRecord) -> str:
    """What was done to the model in a trial."""
    values = trial.values
    return f"{values['plan']}, {values['epochs']} epochs, {values.get('quantize', '')}"


def told(found: Sequence[NearestRecord]) -> str:
    """What comes near, and what it would take, for people."""
    parts = [f"{one.words} would need {' and '.join(one.needs)} ({one.file})" for one in found]
    return "; ".join(parts)
