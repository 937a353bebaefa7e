"""Measure artifacts on one device: sample, compare, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.benchmarks.accuracy import Judge, Judged, judge, judge_known
from edgepress.benchmarks.measurement import Environment, Series
from edgepress.benchmarks.results import (
    DeviceResult,
    Failure,
    MeasuredFile,
    Measurement,
    measured,
)
from edgepress.benchmarks.statistics.intervals import (
    Comparison,
    compare,
    median_interval,
    smallest_difference,
)
from edgepress.benchmarks.statistics.sampling import Entrant, Plan, Record, sample
from edgepress.benchmarks.target import RunOptions, Target
from edgepress.compress.errors import DeviceError, FileRefused, InputError
from edgepress.compress.kernel.files import sha256
from edgepress.compress.kernel.progress import Progress, Silent

_TWIN = "\0twin"


@dataclass(frozen=True)
class Candidate:
    """An artifact with the way in which it is run.

    Attributes:
        name: Its path as given, with what sets it apart from others of the same file.
        label: The same with a short file name, or the name that the user gave it, for tables.
        path: The file.
        options: How it is run.
        given: What the user named, where another file is measured for it.
        called: The name that the user gave it; empty without one.
    """

    name: str
    label: str
    path: Path
    options: RunOptions
    given: Path | None = None
    called: str = ""

    @property
    def file(self) -> MeasuredFile:
        """What is measured, as the user knows it."""
        return MeasuredFile(self.called, self.given or self.path)


def candidates(
    paths: Sequence[Path],
    threads: Sequence[int],
    batches: Sequence[int | None],
    options: RunOptions,
    names: Sequence[str] = (),
) -> tuple[Candidate, ...]:
    """Every artifact with every number of threads and every batch size, named apart.

    Args:
        paths: The files.
        threads: Numbers of threads.
        batches: Batch sizes.
        options: All else of how they are run.
        names: What the user calls each file; empty texts, or none at all, for its path.

    Raises:
        InputError: A file is missing, or appears twice.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"'{path}' does not exist")
    if len({p.resolve() for p in paths}) < len(paths):
        raise InputError("an artifact is named twice", "name each file once")
    found = []
    called = names or [""] * len(paths)
    for path, label, name in zip(paths, _short_names(paths), called, strict=True):
        for count in threads:
            for batch in batches:
                suffix = f" ({count} thread{'s' * (count > 1)})" if len(threads) > 1 else ""
                suffix += f" (batch {batch or 1})" if len(batches) > 1 else ""
                chosen = replace(options, threads=count, batch=batch)
                shown = (name or label) + suffix
                found.append(Candidate(f"{path}{suffix}", shown, path, chosen, called=name))
    return tuple(found)


def _short_names(paths: Sequence[Path]) -> list[str]:
    """File names, each with as many folders before it as tell it from all others."""

    def ends(path: Path, depth: int) -> str:
        return "/".join(path.resolve().parts[-depth:])

    names = []
    for path in paths:
        others = [p for p in paths if p is not path]
        depth = 1
        while any(ends(path, depth) == ends(other, depth) for other in others):
            depth += 1
        names.append(ends(path, depth))
    return names


def measure(
    artifacts: Sequence[Candidate],
    target: Target,
    plan: Plan,
    *,
    precision: float | None = None,
    by: Judge | None = None,
    progress: Progress | None = None,
) -> DeviceResult:
    """Measure artifacts on one device, interleaved.

    Args:
        artifacts: What to measure.
        target: Where.
        plan: How much.
        precision: Go on beyond the planned runs until every interval is narrower than this share
            of its value (of the ratios with several artifacts, of the median with one).
        by: Data and metric for the accuracy, or None.
        progress: Told after each round.

    Returns:
        Measurements, comparisons and failures.

    Raises:
        DeviceError: The device can't be reached.
    """
    before = target.environment()
    if target.estimated:
        plan, precision = replace(plan, runs=1, launches=1), None
    entrants = [_entrant(target, c) for c in artifacts]
    if len(artifacts) > 1 and target.timing_valid:
        entrants.append(_entrant(target, replace(artifacts[0], name=_TWIN)))
    if precision is not None:
        plan = replace(plan, more=_until(precision, plan.seed))
    records = sample(entrants, plan, progress)
    environment = Environment(before, _state(target, before))
    comparisons, noise = _compared(records, plan.seed) if target.timing_valid else ((), None)
    measurements, failures = _measurements(artifacts, target, records, plan)
    if by is not None and target.gives_outputs:
        measurements, missed = _judged(measurements, artifacts, target, by, progress)
        failures += missed
    elif by is not None:
        note = f"{by.metric} isn't measured on '{target.name}': it gives no outputs back"
        measurements = tuple(_with_note(m, note) for m in measurements)
    return DeviceResult(
        target.name,
        getattr(target, "url", target.name),
        target.timing_valid,
        environment,
        measurements,
        comparisons,
        noise,
        failures,
    )


def _cut_short(series: Series, plan: Plan) -> str:
    """A note where the time limit left less than was planned."""
    rounds = sum(map(len, series.launches)), sum(map(len, plan.blocks()))
    of_one = all(s.n == 1 for launch in series.launches for s in launch)
    if rounds[0] < rounds[1]:
        return f"{rounds[0]} of {rounds[1]} rounds: stopped by --max-seconds"
    if len(series.values) < plan.runs and not of_one:
        return f"{len(series.values)} of {plan.runs} runs: stopped by --max-seconds"
    return ""


def _with_note(measurement: Measurement, note: str) -> Measurement:
    if not note:
        return measurement
    facts = measurement.facts
    return replace(measurement, facts=replace(facts, notes=(*facts.notes, note)))


def _entrant(target: Target, candidate: Candidate) -> Entrant:
    return Entrant(candidate.name, lambda: target.open(candidate.path, candidate.options))


def _state(target: Target, before: dict[str, Any]) -> dict[str, Any]:
    """The device's state now; what it was before where it no longer answers."""
    try:
        return target.environment()
    except DeviceError:
        return before


def _compared(records: list[Record], seed: int) -> tuple[tuple[Comparison, ...], float | None]:
    """All pairs, and the smallest difference that can be seen."""
    series = {r.key: s for r in records if (s := r.series())}
    twin, names = series.pop(_TWIN, None), list(series)
    noise = None
    if twin is not None and records[0].key in series:
        noise = smallest_difference(compare(("a", "a"), series[records[0].key], twin, seed=seed))
    return tuple(
        compare((a, b), series[a], series[b], noise or 0.0, seed) for a, b in combinations(names, 2)
    ), noise


def _until(precision: float, seed: int) -> Callable[[Sequence[Record]], bool]:
    """Whether some interval is still wider than wanted."""

    def more(records: Sequence[Record]) -> bool:
        series = [s for r in records if not r.failure and (s := r.series())]
        if len(series) < 2:
            return any(
                median_interval(s, seed).width > precision * float(np.median(s.values))
                for s in series
            )
        pairs = (compare(("", ""), series[0], s, seed=seed) for s in series[1:])
        return any(c.interval.width > precision * c.ratio for c in pairs)

    return more


def _measurements(
    artifacts: Sequence[Candidate], target: Target, records: list[Record], plan: Plan
) -> tuple[tuple[Measurement, ...], tuple[Failure, ...]]:
    found, failures = [], []
    for candidate, record in zip(artifacts, records, strict=False):
        if record.failure:
            failure = Failure(target.name, candidate.name, record.failure, record.refused)
            failures.append(failure)
        series = record.series()
        if series is not None:
            measurement = measured(
                (candidate.name, candidate.label),
                candidate.path,
                candidate.file,
                target.name,
                series,
                tuple(record.facts),
                record.first_ns,
                options=candidate.options,
                steady=record.steady,
                timing_valid=target.timing_valid,
                seed=plan.seed,
            )
            note = "" if record.failure else _cut_short(series, plan)
            found.append(_with_note(measurement, note))
    return tuple(found), tuple(failures)


def _judged(
    measurements: tuple[Measurement, ...],
    artifacts: Sequence[Candidate],
    target: Target,
    by: Judge,
    progress: Progress | None,
) -> tuple[tuple[Measurement, ...], tuple[Failure, ...]]:
    """The measurements with their accuracy.

    Each file is run once, whatever its threads, and not again where another has its content.
    """
    found: dict[Path, Judged] = {}
    by_content: dict[tuple[str, str], Judged] = {}
    failures = []
    options = {c.path: replace(c.options, batch=None) for c in artifacts}
    watch = progress or Silent()
    watch.stage(f"accuracy on {by.total} samples of {by.split}")
    for done, (path, chosen) in enumerate(options.items(), 1):
        content = sha256(path), str(chosen)
        try:
            if content not in by_content:
                by_content[content] = _judge_file(path, content[0], chosen, target, by)
            found[path] = by_content[content]
        except DeviceError as error:
            refused = isinstance(error, FileRefused)
            failures.append(Failure(target.name, path.name, error.format_message(), refused))
        watch.step(done, len(options), path.name)
    unknown = Judged(by.metric, by.split, by.higher_is_better)
    judged = tuple(replace(m, judged=found.get(m.path, unknown)) for m in measurements)
    return tuple(_with_note(m, m.judged.problem if m.judged else "") for m in judged), tuple(
        failures
    )


def _judge_file(path: Path, digest: str, options: RunOptions, target: Target, by: Judge) -> Judged:
    """A file's accuracy, from what it gave before where it ran in the same way."""
    plain = options == replace(RunOptions(), timeout=options.timeout)
    given = by.known(digest) if by.known is not None and plain else None
    if given is not None:
        return judge_known(given, by)
    with target.open(path, options) as session:
        return judge(session, by)
