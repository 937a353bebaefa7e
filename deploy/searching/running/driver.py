"""Runs the trials of a queue: each in a process of its own, judged and written down at its end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Progress
from edgepress.deploy.recipe import Recipe
from edgepress.deploy.searching.curves import Judged
from edgepress.deploy.searching.pruners import Stopping, Watch, epochs_of
from edgepress.deploy.searching.running.queues import Queue
from edgepress.deploy.searching.space import SearchRecipe, values_of
from edgepress.deploy.searching.study import curves_of, latencies_are_relative, record
from edgepress.deploy.searching.time_left import seconds_left, words
from edgepress.deploy.searching.trial import Outcome, judge, start, stop

if TYPE_CHECKING:
    from optuna import Study

_POLL_S = 0.2


@dataclass(frozen=True)
class Material:
    """What trials are judged with.

    Attributes:
        recipe: What is searched.
        data: Its data.
        given: The given model's metric on the data of choices, where falls are bounded.
    """

    recipe: SearchRecipe
    data: Dataset
    given: float | None

    @classmethod
    def of(cls, recipe: SearchRecipe, progress: Progress) -> Material:
        """Load a recipe's model and data."""
        from edgepress.compress.data import figures, open_data
        from edgepress.compress.models import load

        progress.stage(f"load {recipe.model} and its data")
        model = load(recipe.model, recipe.custom_objects, recipe.unsafe_lambda)
        data = open_data(recipe.data, model, recipe.seed)
        given = None
        if recipe.accept.max_drop is not None and not varies_source(recipe):
            split = data.report_split if data.val is None else data.val
            given = data.task.headline_of(figures(model, split, data.task))
        return cls(recipe, data, given)


def varies_source(recipe: SearchRecipe) -> bool:
    """Whether the given model itself varies."""
    return any(place == "model" for place in recipe.space())


def trial_folder(folder: Path, number: int) -> Path:
    """The run of a trial in the folder of its search."""
    return folder / "trials" / f"{number:04d}"


@dataclass
class _Running:
    """A trial in progress."""

    number: int
    recipe: Recipe
    process: subprocess.Popen[bytes]
    began: float


@dataclass
class Driver:
    """Runs the trials of a queue.

    Attributes:
        material: What they are judged with.
        folder: Of the search.
        study: Where they are written down.
        queue: Gives them.
        workers: How many run at once; they share the processor's cores.
        progress: Receives the progress.
        until: Moment on the monotonic clock after which none is begun.
        trials: How many there are to be in the end, for the progress.
    """

    material: Material
    folder: Path
    study: Study
    queue: Queue
    workers: int
    progress: Progress
    until: float | None
    trials: int
    _took: list[float] = field(default_factory=list)
    _running: list[_Running] = field(default_factory=list)

    def run(self) -> None:
        """Run trials until there are none; none is left running, whatever happens."""
        self._watch = self._watching()
        self.progress.stage(f"try {self.trials} recipes")
        try:
            while self.queue.open or self._running:
                self._heed_the_time()
                while len(self._running) < self.workers and (ticket := self.queue.take()):
                    self._start(*ticket)
                time.sleep(_POLL_S)
                self.queue.beat([trial.number for trial in self._running])
                self._stop_beaten()
                for trial in [r for r in self._running if r.process.poll() is not None]:
                    self._running.remove(trial)
                    self._took.append(time.monotonic() - trial.began)
                    self._end(trial)
        finally:
            for trial in self._running:
                stop(trial.process)

    def _watching(self) -> Watch:
        """What looks at the curves of trials that run, and knows those of others."""
        search = self.material.recipe.search
        return Watch(
            Stopping(search.pruner, search.prune_after),
            Judged.of(self.material.data, search.objectives),
            self._ended_curves,
        )

    def _ended_curves(self) -> dict[int, tuple[Sequence[Any], int]]:
        """Curves of trials that ended, and how many epochs they were trained for."""
        recipe, trials = self.material.recipe, self.study.trials
        return {
            n: (curve, epochs_of(recipe.with_values(values_of(recipe, trials[n].params))))
            for n, curve in curves_of(self.study).items()
        }

    def _heed_the_time(self) -> None:
        if self.queue.open and self.until is not None and time.monotonic() >= self.until:
            self.progress.stage("the time is up: trials that run are finished")
            self.queue.close()

    def _start(self, number: int, drawn: Mapping[str, Any]) -> None:
        """Start a trial; one whose values can't go together has failed, and says why."""
        recipe = self.material.recipe
        try:
            plain = recipe.with_values(values_of(recipe, drawn))
        except InputError as error:
            record(self.study, number, Outcome(reason=error.format_message()))
            return
        self._watch.begin(number, plain)
        # Workers that each take all cores would wait for one another.
        threads = max(1, (os.cpu_count() or 1) // self.workers) if self.workers > 1 else None
        process = start(plain, trial_folder(self.folder, number), threads)
        self._running.append(_Running(number, plain, process, time.monotonic()))

    def _stop_beaten(self) -> None:
        """Stop trials whose curves lie behind those of others."""
        folders = {r.number: trial_folder(self.folder, r.number) for r in self._running}
        beaten = self._watch.beaten(folders)
        for trial in [r for r in self._running if r.number in beaten]:
            self._running.remove(trial)
            stop(trial.process)
            epoch = beaten[trial.number]
            reason = f"stopped early: after {epoch} epochs too many trials were better"
            curve = self._watch.curve(trial.number, folders[trial.number])
            self._write(trial.number, Outcome(reason=reason, stopped=epoch, curve=curve))
            self._say(f"trial {trial.number}: {reason}")

    def _end(self, trial: _Running) -> None:
        folder, recipe = trial_folder(self.folder, trial.number), self.material.recipe
        outcome = judge(
            trial.process.returncode,
            folder,
            recipe.search,
            trial.recipe,
            self.material.data,
            # Sources that differ can't be what all trials are held against.
            False if varies_source(recipe) else latencies_are_relative(self.study),
            given=self.material.given,
        )
        outcome = replace(outcome, curve=self._watch.curve(trial.number, folder))
        self._write(trial.number, outcome)
        pairs = zip(recipe.search.objectives, outcome.values, strict=False)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in pairs)
        self._say(f"trial {trial.number}: {shown or outcome.reason}{self._left()}")

    def _write(self, number: int, outcome: Outcome) -> None:
        """Write down a trial, unless it seemed dead and was given to another worker."""
        if self.study.trials[number].state.is_finished():
            self.progress.stage(f"trial {number} was given to another worker meanwhile")
            return
        record(self.study, number, outcome)

    def _left(self) -> str:
        """The time left, in words."""
        now = time.monotonic()
        bound = None if self.until is None else self.until - now
        since = [now - trial.began for trial in self._running]
        waiting = self.queue.waiting
        return words(seconds_left(self._took, waiting, since, self.workers, bound))

    def _say(self, text: str) -> None:
        """Tell of a trial that ended."""
        done = sum(t.state.is_finished() for t in self.study.trials)
        self.progress.step(done, self.trials, text)
