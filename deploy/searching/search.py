"""The search: draw a recipe, run its line, judge it, until enough were tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.records import BenchmarkRecord
from edgepress.benchmarks.records.search import SearchRecord, TrialRecord
from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.kernel.files import content_key, sha256, write_json
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.deploy.pipeline.finished import Finished
from edgepress.deploy.pipeline.inputs import inputs_key
from edgepress.deploy.pipeline.measuring import measure_files
from edgepress.deploy.pipeline.opening import opened_run
from edgepress.deploy.pipeline.recipe_checks import check_recipe
from edgepress.deploy.pipeline.run_folder import IN_COMMON, RunFolder
from edgepress.deploy.recipe import Recipe, inputs_of, read_recipe
from edgepress.deploy.searching.last_measurement import MEASURED, MOST_FILES, Front, measured_front
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.space import SearchRecipe, ends, values_of
from edgepress.deploy.searching.study import (
    Points,
    accepted_points,
    begun,
    check_files,
    draw,
    front,
    latencies_are_relative,
    open_study,
    record,
    shortlist,
    signs_of,
    trial_folder,
    unfinished,
)
from edgepress.deploy.searching.trial import Outcome, judge, start, stop

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_POLL_S = 0.2


@dataclass(frozen=True)
class SearchResult(Finished[SearchRecord]):
    """A finished search, with what `search.json` holds."""


def search(
    recipe: SearchRecipe | Path | str,
    output: Path | str,
    *,
    trials: int = 20,
    workers: int = 1,
    seconds: float | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> SearchResult:
    """Try many recipes; keep those that no other beats in every objective.

    Every trial is the full pipeline in a process and a run folder of its own. Recipes are judged on
    validation data (where the data has a test split too), and reported on test data.

    Args:
        recipe: A recipe with a `search` part, or its file.
        output: Folder of the search: `search.json`, `report.html`, `trials/NNNN/`.
        trials: Recipes that are tried, those of an earlier stop included.
        workers: Trials that run at once; they share the processor, so latencies are noisier.
        seconds: Time after which no trial is begun; those that run are finished. No bound if None.
        resume: Whether a search that stopped there goes on.
        force: Whether an earlier search there is replaced.
        progress: Receives the progress.

    Returns:
        The search.

    Raises:
        InputError: The recipe, model or data can't be used, nothing varies, or the output is taken.
        CheckFailed: No trial gave an accepted file; `search.json` and the page say why.
    """
    found = run_search(
        recipe,
        output,
        trials=trials,
        workers=workers,
        seconds=seconds,
        resume=resume,
        force=force,
        progress=progress,
    )
    check_found(found)
    return found


def check_found(found: SearchResult) -> None:
    """Raise where a search found nothing.

    Raises:
        CheckFailed: No trial gave an accepted file; names each reason.
    """
    if found.contents.front:
        return
    reasons = Counter(trial.reason for trial in found.contents.trials if trial.reason)
    reasons_text = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    raise CheckFailed(
        found.contents.headline, f"{reasons_text}; all of them: {found.folder / 'search.json'}"
    )


def run_search(
    recipe: SearchRecipe | Path | str,
    output: Path | str,
    *,
    trials: int,
    workers: int,
    seconds: float | None,
    resume: bool,
    force: bool,
    progress: Progress | None,
) -> SearchResult:
    """As `search`, but a search that found nothing is given back like any other."""
    if trials < 1 or workers < 1:
        raise InputError("a search needs at least one trial and one worker")
    if seconds is not None and seconds <= 0:
        raise InputError("a search needs time above 0 seconds")
    plan = recipe if isinstance(recipe, SearchRecipe) else read_recipe(Path(recipe), SearchRecipe)
    plans = list(ends(plan))
    driver = _Search(plan, workers, seconds, progress or Silent())
    for varied in plans:
        check_recipe(varied, driver.data)
    inputs = [*inputs_of(plan), None if recipe is plan else recipe]
    with opened_run(Path(output), resume, force, inputs, given=True) as folder:
        return driver.run(replace(folder, more=(folder.path / "search.json",)), trials)


@dataclass
class _Running:
    """A trial in progress."""

    number: int
    recipe: Recipe
    process: subprocess.Popen[bytes]


class _Search:
    """One search in progress."""

    def __init__(
        self, recipe: SearchRecipe, workers: int, seconds: float | None, progress: Progress
    ) -> None:
        from edgepress.compress.data import open_data
        from edgepress.compress.models import load

        progress.stage(f"load {recipe.model} and its data")
        model = load(recipe.model, recipe.custom_objects, recipe.unsafe_lambda)
        self.data = open_data(recipe.data, model, recipe.seed)
        # What varies has its place in every trial; how it is drawn changes none of them.
        drawn = {"search": {"space", "sampler"}}
        lists = {k: v for k, v in recipe.search.space.items() if isinstance(v, list)}
        self.inputs = content_key(
            inputs_key(recipe, model, self.data),
            recipe.model_dump(mode="json", exclude=drawn),
            lists,
        )
        self.recipe, self.workers, self.progress = recipe, workers, progress
        self.until = None if seconds is None else time.monotonic() + seconds
        # Workers that each take all cores would wait for one another.
        self.threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None

    def run(self, folder: RunFolder, trials: int) -> SearchResult:
        self.folder = folder
        if not folder.recipe.is_file():
            folder.write_recipe(self.recipe)
        self.study = open_study(
            folder.path / "study.journal",
            self.recipe,
            self._directions(),
            self.workers,
            self.inputs,
        )
        check_files(self.study, folder.path)
        folder.write_recipe(self.recipe)
        self._try(trials)
        return self._finish()

    def _directions(self) -> list[str]:
        higher = self.data.task.higher_is_better
        smaller = [OBJECTIVES[name].smaller for name in self.recipe.search.objectives]
        return ["minimize" if (not higher if s is None else s) else "maximize" for s in smaller]

    def _trial_folder(self, number: int) -> Path:
        return trial_folder(self.folder.path, number)

    def _try(self, trials: int) -> None:
        """Run trials until as many are done; none is left running, whatever happens."""
        waiting = list(unfinished(self.study))
        fresh = max(0, trials - begun(self.study))
        running: list[_Running] = []
        self.progress.stage(f"try {trials} recipes")
        try:
            while waiting or running or fresh:
                if (fresh or waiting) and self.until is not None and time.monotonic() >= self.until:
                    self.progress.stage("the time is up: trials that run are finished")
                    waiting, fresh = [], 0
                while len(running) < self.workers and (waiting or fresh):
                    if waiting:
                        number, drawn = waiting.pop(0)
                    else:
                        number, drawn = draw(self.study, self.recipe, self.workers)
                        fresh -= 1
                    running += self._start(number, drawn)
                time.sleep(_POLL_S)
                for trial in [r for r in running if r.process.poll() is not None]:
                    running.remove(trial)
                    self._end(trial, trials)
        finally:
            for trial in running:
                stop(trial.process)

    def _start(self, number: int, drawn: Mapping[str, Any]) -> list[_Running]:
        """Start a trial; one whose values can't go together has failed, and says why."""
        try:
            recipe = self.recipe.with_values(values_of(self.recipe, drawn))
        except InputError as error:
            record(self.study, number, Outcome(reason=error.format_message()))
            return []
        return [_Running(number, recipe, start(recipe, self._trial_folder(number), self.threads))]

    def _end(self, trial: _Running, trials: int) -> None:
        folder = self._trial_folder(trial.number)
        outcome = judge(
            trial.process.returncode,
            folder,
            self.recipe.search,
            trial.recipe,
            self.data,
            # Sources that differ can't be what all trials are held against.
            False if self._varies_source() else latencies_are_relative(self.study),
        )
        record(self.study, trial.number, outcome)
        shown = ", ".join(
            f"{n} {v:.4g}"
            for n, v in zip(self.recipe.search.objectives, outcome.values, strict=False)
        )
        done = sum(t.state.is_finished() for t in self.study.trials)
        text = f"trial {trial.number}: {shown or outcome.reason}"
        self.progress.step(done, trials, text)

    def _varies_source(self) -> bool:
        return any(place == "model" for place in self.recipe.space())

    def _finish(self) -> SearchResult:
        """Measure what could be best alone and interleaved; write what was found, and the page."""
        points = accepted_points(self.study)
        files = self._files(points)
        measured = self._measure(files)
        objectives = self.recipe.search.objectives
        best = measured_front(
            objectives,
            signs_of(self.study),
            points,
            {number: sha256(path) for number, path in files.items()},
            measured,
        )
        tried = len(self.study.trials)
        on_front = f"{len(best.numbers)} of {tried} recipes are on the front"
        found = SearchRecord.model_validate(
            {
                "version": 2,
                "objectives": list(objectives),
                "chosen_by": "val" if self.data.val is not None else self.data.report_split.name,
                "split": self.data.report_split.name,
                "metric": self.data.task.metric,
                "trials": [self._told(trial, best) for trial in self.study.trials],
                "front": best.numbers,
                "front_by": best.by,
                "headline": on_front
                if best.numbers
                else f"none of {tried} recipes gave an accepted file",
                "warnings": self.data.warnings,
                "benchmark": measured,
            }
        )
        write_json(self.folder.path / "search.json", found.to_json())
        self._report(found)
        shutil.rmtree(self.folder.path / IN_COMMON, ignore_errors=True)
        self.folder.list_files()
        return SearchResult(self.folder.path, found)

    def _files(self, points: Points) -> dict[int, Path]:
        """The files that are measured once more, by trial."""
        asked = any(name in MEASURED for name in self.recipe.search.objectives)
        numbers = shortlist(points, MOST_FILES) if asked else front(points)
        trials = self.study.trials
        files = {n: self._trial_folder(n) / trials[n].user_attrs["artifact"] for n in numbers}
        return {n: path for n, path in files.items() if path.suffix in (".tflite", ".onnx")}

    def _measure(self, files: Mapping[int, Path]) -> BenchmarkRecord:
        from edgepress.deploy.benchmarking.benchmark import RunFile

        if not files:
            return BenchmarkRecord()
        self.progress.stage(f"measure {len(files)} files of the best trials, interleaved")
        spec = self.recipe.benchmark.model_copy(update={"profile": False})
        precision = self.recipe.search.quantize or self.recipe.export.quantize[-1]
        chosen = [RunFile(path, precision) for path in files.values()]
        return measure_files(spec, chosen, self.folder.path, self.recipe.seed, self.progress)

    def _told(self, trial: FrozenTrial, best: Front) -> TrialRecord:
        kept = trial.user_attrs
        folder = self._trial_folder(trial.number)
        return TrialRecord(
            number=trial.number,
            folder=str(folder.relative_to(self.folder.path)),
            values=values_of(self.recipe, trial.params),
            accepted=bool(kept.get("accepted")),
            artifact=kept.get("artifact", ""),
            sha256=kept.get("sha256"),
            figures={**(kept.get("figures") or {}), **best.figures.get(trial.number, {})},
            reason=kept.get("reason", ""),
        )

    def _report(self, found: SearchRecord) -> None:
        """The page: the front in full, or what was tried where there is none."""
        from edgepress.benchmarks.report.search_page import runs_to_show, write_search_page

        self.progress.stage("write the report")
        write_search_page(found, runs_to_show(found, self.folder.path), self.folder.report)
