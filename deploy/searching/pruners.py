"""Which trials are stopped before they are trained to the end.

Optuna's pruners take studies of one objective alone: `Trial.report` refuses others. Here trials
that were trained equally long are ranked as a search ranks them in the end: by how many fronts lie
before theirs. So a small model isn't stopped because large ones recover faster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress.compress.kernel.registry import Table
from edgepress.deploy.recipe import Recipe
from edgepress.deploy.searching.curves import WORST, Judged, Point, curve_of
from edgepress.deploy.searching.fronts import front

# Of the trials that come to a rung, one in so many goes on; the next rung is so many times as long.
ETA = 3
_MOST_BRACKETS = 4
# How often trials that run are looked at, in seconds.
_LOOK_S = 1.0


@dataclass(frozen=True)
class Bracket:
    """Trials that compete with each other.

    Attributes:
        number: Of the bracket.
        first: Epochs at its first rung.
    """

    number: int
    first: int

    def rungs(self, epochs: int) -> Iterator[int]:
        """Epochs at which a trial of so many epochs is looked at; the end is none."""
        rung = self.first
        while rung < epochs:
            yield rung
            rung *= ETA


# By the number of a trial its curve, and the epochs that it was to be trained for.
Ended = Mapping[int, tuple[Sequence[Point], int]]
Brackets = Callable[[int, int, int], Bracket | None]


def _none(trial: int, least: int, epochs: int) -> Bracket | None:
    """No trial is stopped."""
    del trial, least, epochs
    return None


def _asha(trial: int, least: int, epochs: int) -> Bracket | None:
    """Li et al., "A system for massively parallel hyperparameter tuning" (MLSys 2020)."""
    del trial, epochs
    return Bracket(0, least)


def _hyperband(trial: int, least: int, epochs: int) -> Bracket | None:
    """Brackets that begin to stop trials ever later, for curves that cross; taken in turns.

    Source: Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization"
        (JMLR 2018).
    """
    count = 1 + max(0, math.floor(math.log(max(epochs, least) / least, ETA) + 1e-9))
    number = trial % min(count, _MOST_BRACKETS)
    return Bracket(number, least * ETA**number)


PRUNERS: Table[Brackets] = Table(
    "pruner",
    {"none": _none, "asha": _asha, "hyperband": _hyperband},
    entry_point_group="edgepress.pruners",
)


@dataclass(frozen=True)
class Stopping:
    """When trials are stopped.

    Attributes:
        pruner: A name in `PRUNERS`.
        least: Epochs after which a trial is looked at first.
    """

    pruner: str
    least: int

    def beaten_at(
        self, trial: int, curves: Mapping[int, Sequence[Point]], epochs: Mapping[int, int]
    ) -> int | None:
        """The epoch at which too many trials were better, or None.

        Args:
            trial: The trial's number.
            curves: Of all trials so far, by number; a point for each epoch.
            epochs: How many each of them is trained for.

        Source: for the ranks, Schmucker et al., "Multi-objective asynchronous successive halving"
            (2021).
        """
        bracket = self._bracket(trial, epochs[trial])
        if bracket is None:
            return None
        rivals = {n: c for n, c in curves.items() if self._bracket(n, epochs[n]) == bracket}
        for rung in bracket.rungs(epochs[trial]):
            here = {n: curve[rung - 1] for n, curve in rivals.items() if len(curve) >= rung}
            if trial not in here:
                return None
            if not _goes_on(trial, here):
                return rung
        return None

    def _bracket(self, trial: int, epochs: int) -> Bracket | None:
        return PRUNERS[self.pruner](trial, self.least, epochs)


class Watch:
    """The curves of a search, and which of the trials that run is to be stopped.

    Args:
        stopping: When trials are stopped.
        judged: What epochs are judged by.
        ended: Gives the curves of trials that ended, here or elsewhere, and for how many epochs
            they were to be trained.
    """

    def __init__(self, stopping: Stopping, judged: Judged, ended: Callable[[], Ended]) -> None:
        self._stopping, self._judged, self._ended = stopping, judged, ended
        self._epochs: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._looked = 0.0

    def begin(self, trial: int, recipe: Recipe) -> None:
        """A trial starts, or goes on."""
        self._epochs[trial] = epochs_of(recipe)

    def curve(self, trial: int, folder: Path) -> Sequence[Point]:
        """The whole curve of a trial that has ended."""
        self._lengths.pop(trial, None)
        return () if self._stopping.pruner == "none" else curve_of(folder, self._judged)

    def beaten(self, running: Mapping[int, Path]) -> dict[int, int]:
        """Of the trials that run those that are to be stopped, with the epoch that says so.

        Args:
            running: Their folders by number. They are looked at once a second.
        """
        now = time.monotonic()
        if self._stopping.pruner == "none" or now - self._looked < _LOOK_S:
            return {}
        self._looked = now
        curves = {n: curve_of(folder, self._judged) for n, folder in running.items()}
        lengths = {n: len(curve) for n, curve in curves.items()}
        if lengths == self._lengths:
            return {}
        self._lengths = lengths
        ended = self._ended()
        known = {n: curve for n, (curve, _) in ended.items()} | curves
        epochs = {n: epochs for n, (_, epochs) in ended.items()}
        epochs |= {n: self._epochs[n] for n in running}
        found = {n: self._stopping.beaten_at(n, known, epochs) for n in running}
        return {trial: epoch for trial, epoch in found.items() if epoch is not None}


def epochs_of(recipe: Recipe) -> int:
    """Epochs of all trainings of a recipe whose curves are looked at."""
    first = 0 if recipe.finetune is None else recipe.finetune.epochs
    return first + sum(step.recover.epochs for step in recipe.prune)


def _goes_on(trial: int, points: Mapping[int, Point]) -> bool:
    """Whether a trial is among the best third of those that came so far; equals go along."""
    if points[trial][0] >= WORST:
        return False
    better, left = 0, dict(points)
    while left:
        best = front(left)
        if trial in best:
            return better < max(1, len(points) // ETA)
        better += len(best)
        left = {n: p for n, p in left.items() if n not in best}
    return True
