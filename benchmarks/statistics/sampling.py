"""In which order to run what, and when to stop.

Machines change speed for seconds at a time, so artifacts are never measured one after the other:
every round runs each artifact once, in a newly drawn order, and ratios are taken within rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

import numpy as np

from edgepress.benchmarks.measurement import Samples, Series, SessionFacts
from edgepress.benchmarks.target import Job, Session
from edgepress.compress.errors import DeviceError, FileRefused, InputError
from edgepress.compress.kernel.progress import Progress, Silent


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        runs: Inferences of each artifact that count.
        launches: Fresh processes over which they are spread.
        rounds: Stretches in each launch, alternating between the artifacts.
        max_seconds: When to stop early; what was measured until then counts.
        seed: Of the order within rounds.
        more: Whether launches go on beyond `runs`, asked after each with the series so far.
    """

    runs: int = 200
    launches: int = 5
    rounds: int = 10
    max_seconds: float = 120.0
    seed: int = 0
    more: Callable[[Sequence[Record]], bool] | None = None

    def __post_init__(self) -> None:
        if self.runs < 1 or self.launches < 1 or self.rounds < 1:
            raise InputError("a benchmark needs at least 1 run", "give --runs 1 or more")
        if self.max_seconds <= 0:
            raise InputError("the time limit of a benchmark must be above 0 seconds")

    def blocks(self) -> list[list[int]]:
        """Inferences of each round of each launch; their sum is `runs`."""
        launches = min(self.launches, self.runs)
        return [split(share, min(self.rounds, share)) for share in split(self.runs, launches)]


def split(total: int, parts: int) -> list[int]:
    """`total` in `parts` whole numbers as equal as can be."""
    return [total // parts + (i < total % parts) for i in range(parts)]


@dataclass
class Record:
    """What was measured of one entrant so far, why it failed, and whether its file is to blame."""

    key: str
    launches: list[list[Samples]] = field(default_factory=list)
    first_ns: list[float] = field(default_factory=list)
    facts: list[SessionFacts] = field(default_factory=list)
    steady: bool = True
    failure: str = ""
    refused: bool = False

    def series(self) -> Series | None:
        """The samples, or None when there are none."""
        kept = tuple(tuple(rounds) for rounds in self.launches if rounds)
        return Series(kept) if kept else None


@dataclass(frozen=True)
class Entrant:
    """An artifact in the race: a name and the way to load it in a fresh process."""

    key: str
    open: Callable[[], AbstractContextManager[Session]]


def sample(
    entrants: Sequence[Entrant], plan: Plan, progress: Progress | None = None
) -> list[Record]:
    """Measure all entrants, interleaved.

    An entrant that fails is left out from there on; its record says why, and keeps what it has.

    Args:
        entrants: What to measure.
        plan: How much.
        progress: Told after each round.

    Returns:
        One record for each entrant, in their order.
    """
    records = [Record(entrant.key) for entrant in entrants]
    end = time.monotonic() + plan.max_seconds
    rng = np.random.default_rng(plan.seed)
    blocks, done = plan.blocks(), 0
    total = sum(len(launch) for launch in blocks)
    for number, launch in enumerate(_launches(plan, blocks, records)):
        left = end - time.monotonic()
        if left <= 0 and number:
            break
        share = max(left, 0.0) / max(1, len(blocks) - number)
        for _ in _one_launch(entrants, records, launch, share, rng):
            done += 1
            (progress or Silent()).step(min(done, total), total, "rounds")
    return records


def _launches(plan: Plan, blocks: list[list[int]], records: list[Record]) -> Iterator[list[int]]:
    """The planned launches, then more of the last size as long as they are asked for."""
    yield from blocks
    while plan.more and not all(r.failure for r in records) and plan.more(records):
        yield blocks[-1]


def _one_launch(
    entrants: Sequence[Entrant],
    records: list[Record],
    launch: list[int],
    seconds: float,
    rng: np.random.Generator,
) -> Iterator[None]:
    """Load all that still run, warm them up, run the rounds; yields after each round."""
    end = time.monotonic() + seconds
    with ExitStack() as stack:
        running: dict[int, Session] = {}
        for i, entrant in enumerate(entrants):
            if not records[i].failure:
                with _noting_failure(records[i]):
                    running[i] = stack.enter_context(entrant.open())
                    records[i].launches.append([])
        for i, session in list(running.items()):
            with _noting_failure(records[i]):
                _begin(session, records[i], 0.3 * seconds / max(1, len(running)))
        for position, runs in enumerate(launch):
            left = max(0.0, end - time.monotonic()) / (len(launch) - position)
            _one_round(running, records, runs, left, rng)
            yield
            if time.monotonic() > end:
                break
        for i, session in running.items():
            if not records[i].failure:
                with _noting_failure(records[i]):
                    records[i].facts.append(session.facts())


def _one_round(
    running: dict[int, Session],
    records: list[Record],
    runs: int,
    seconds: float,
    rng: np.random.Generator,
) -> None:
    """Run each session once, in a newly drawn order."""
    alive = [i for i in running if not records[i].failure]
    for i in rng.permutation(alive).tolist():
        with _noting_failure(records[i]):
            job = Job(runs, discard=1, max_seconds=seconds / len(alive))
            records[i].launches[-1].append(running[i].run(job))


class _noting_failure:
    """Turns a device's error into the record's failure."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        if isinstance(error, DeviceError):
            self.record.failure = error.format_message()
            self.record.refused = isinstance(error, FileRefused)
            return True
        return False


def _begin(session: Session, record: Record, seconds: float) -> None:
    """The first inference, then warm-up until the latency no longer falls."""
    record.first_ns.append(session.run(Job(1)).values[0])
    record.steady = warm_up(session, seconds) and record.steady


def warm_up(session: Session, seconds: float) -> bool:
    """Run until the latency no longer falls, or the time is over.

    Args:
        session: What to warm up.
        seconds: Time for it.

    Returns:
        Whether it got steady.
    """
    end = time.monotonic() + seconds
    medians: list[float] = []
    runs = 1
    while not is_steady(medians):
        left = end - time.monotonic()
        if left <= 0 and medians:
            return False
        medians.append(session.run(Job(runs, max_seconds=max(left, 0.0))).median)
        runs = min(2 * runs, 64)
    return True


def is_steady(medians: Sequence[float]) -> bool:
    """Whether the last two of at least four medians are no new lows by more than 3 %."""
    if len(medians) < 4:
        return False
    return all(medians[i] >= 0.97 * min(medians[:i]) for i in (-1, -2))
