"""Which trial runs next: of a search's own journal, or of a database that workers share."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgepress.deploy.searching.space import SearchRecipe
from edgepress.deploy.searching.study import begun, counted, draw, unfinished

if TYPE_CHECKING:
    from optuna import Study

    from edgepress.deploy.searching.running.database import Database

# How often a running trial is told of, in seconds: well below what makes it seem dead.
_BEAT_S = 5.0
# A trial's number, and what was drawn for it.
Ticket = tuple[int, Mapping[str, Any]]


class Queue(Protocol):
    """Gives the trials that are to be run."""

    @property
    def waiting(self) -> int:
        """Trials that nobody has begun."""

    @property
    def open(self) -> bool:
        """Whether there may be more to run, now or later."""

    def take(self) -> Ticket | None:
        """The next trial; None where there is none now."""

    def beat(self, running: Iterable[int]) -> None:
        """Say that trials are still being run."""

    def close(self) -> None:
        """Give no further trial."""


class OwnQueue:
    """The trials of a study that nobody else works on.

    Trials that ran when it was stopped come first.

    Args:
        study: The study.
        recipe: What is drawn.
        trials: How many there are to be in the end.
        workers: How many run at once.
    """

    def __init__(self, study: Study, recipe: SearchRecipe, trials: int, workers: int) -> None:
        self._study, self._recipe, self._workers = study, recipe, workers
        self._stopped = unfinished(study)
        self._fresh = max(0, trials - begun(study))

    @property
    def waiting(self) -> int:
        """Trials that nobody has begun."""
        return len(self._stopped) + self._fresh

    @property
    def open(self) -> bool:
        """Whether there are more to run."""
        return self.waiting > 0

    def take(self) -> Ticket | None:
        """The next trial; None where there is none."""
        if self._stopped:
            return self._stopped.pop(0)
        if not self._fresh:
            return None
        self._fresh -= 1
        return draw(self._study, self._recipe, self._workers)

    def beat(self, running: Iterable[int]) -> None:
        """Nobody else asks."""

    def close(self) -> None:
        """Give no further trial."""
        self._stopped, self._fresh = [], 0


@dataclass
class SharedQueue:
    """The trials of a study that several workers share.

    It is open until all of them have ended, wherever they run: one whose worker died is tried
    again.

    Attributes:
        database: Holds the study.
        recipe: What is drawn.
        workers: How many run at once here.
    """

    database: Database
    recipe: SearchRecipe
    workers: int
    _closed: bool = False
    _beaten: dict[int, float] = field(default_factory=dict)
    _looked: float = float("-inf")
    _left: tuple[int, int] = (0, 0)

    @property
    def waiting(self) -> int:
        """Trials that nobody has begun."""
        return 0 if self._closed else self._counts()[0]

    @property
    def open(self) -> bool:
        """Whether a trial waits, or runs somewhere and may be tried again."""
        return not self._closed and sum(self._counts()) > 0

    def take(self) -> Ticket | None:
        """The next trial; None where there is none now."""
        from edgepress.deploy.searching.running.database import own_heartbeats

        if self.waiting == 0:
            return None
        study = self.database.study
        with own_heartbeats():
            ticket = draw(study, self.recipe, self.workers)
        self._looked = float("-inf")
        if not self.database.claim(ticket[0]):
            return None
        self.beat([ticket[0]])
        return ticket

    def beat(self, running: Iterable[int]) -> None:
        """Say that trials are still being run, every few seconds."""
        now = time.monotonic()
        for number in running:
            if now - self._beaten.get(number, float("-inf")) >= _BEAT_S:
                self._beaten[number] = now
                self.database.beat(number)

    def close(self) -> None:
        """Give no further trial."""
        self._closed = True

    def _counts(self) -> tuple[int, int]:
        """How many trials nobody has begun, and how many run; looked up once a second."""
        now = time.monotonic()
        if now - self._looked >= 1:
            self._looked = now
            self.database.give_up_stale()
            trials = counted(self.database.study)
            fresh = max(0, self.database.trials - len(trials))
            waiting = sum(t.state.name == "WAITING" for t in trials)
            self._left = (fresh + waiting, sum(t.state.name == "RUNNING" for t in trials))
        return self._left
