"""The search: draw a recipe, run its line, judge it, until enough were tried."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.benchmarks.records import BenchmarkRecord
from edgepress.benchmarks.records.search import SearchRecord, TrialRecord
from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.kernel.files import sha256, write_json
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.deploy.pipeline.finished import Finished
from edgepress.deploy.pipeline.measuring import measure_files
from edgepress.deploy.pipeline.opening import opened_run
from edgepress.deploy.pipeline.recipe_checks import check_recipe
from edgepress.deploy.pipeline.run_folder import IN_COMMON, RunFolder
from edgepress.deploy.recipe import inputs_of, read_recipe
from edgepress.deploy.searching.fronts import Points, front, shortlist
from edgepress.deploy.searching.last_measurement import MEASURED, MOST_FILES, Front, measured_front
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.running.driver import Driver, Material, trial_folder
from edgepress.deploy.searching.running.queues import OwnQueue, Queue, SharedQueue
from edgepress.deploy.searching.space import SearchRecipe, ends, values_of
from edgepress.deploy.searching.study import accepted_points, counted, open_study, signs_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Shared:
    """A database by which several machines share a search.

    Attributes:
        storage: Its address.
        study: Name of the study in it; that of the search's folder where it is empty.
        resume: Whether the study goes on.
    """

    storage: str
    study: str
    resume: bool


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
    storage: str | None = None,
    study: str = "",
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
        storage: Database by which workers on other machines share the search, as
            sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME; see `search_worker`. By default
            the study is a file in the folder.
        study: Name of the study in that database; by default that of the folder.
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
        storage=storage,
        study=study,
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
    storage: str | None,
    study: str,
    resume: bool,
    force: bool,
    progress: Progress | None,
) -> SearchResult:
    """As `search`, but a search that found nothing is given back like any other."""
    if trials < 1 or workers < 1:
        raise InputError("a search needs at least one trial and one worker")
    if seconds is not None and seconds <= 0:
        raise InputError("a search needs time above 0 seconds")
    if study and storage is None:
        raise InputError("a study has a name of its own in a database alone", "give storage too")
    plan = recipe if isinstance(recipe, SearchRecipe) else read_recipe(Path(recipe), SearchRecipe)
    plans = list(ends(plan))
    driver = _Search(plan, workers, seconds, progress or Silent())
    for varied in plans:
        check_recipe(varied, driver.data)
    inputs = [*inputs_of(plan), None if recipe is plan else recipe]
    with opened_run(Path(output), resume, force, inputs, given=True) as folder:
        shared = None if storage is None else Shared(storage, study, resume)
        return driver.run(replace(folder, more=(folder.path / "search.json",)), trials, shared)


class _Search:
    """One search in progress."""

    def __init__(
        self, recipe: SearchRecipe, workers: int, seconds: float | None, progress: Progress
    ) -> None:
        self.material = Material.of(recipe, progress)
        self.recipe, self.data = recipe, self.material.data
        self.workers, self.progress = workers, progress
        self.until = None if seconds is None else time.monotonic() + seconds

    def run(self, folder: RunFolder, trials: int, shared: Shared | None) -> SearchResult:
        """Run trials until there are enough, and tell what came out.

        Args:
            folder: Of the search.
            trials: How many there are to be in the end.
            shared: The database that other workers may join; None keeps a journal in the folder.
        """
        self.folder = folder
        folder.write_recipe(self.recipe)
        queue = self._own_queue(trials) if shared is None else self._shared_queue(trials, shared)
        Driver(
            self.material,
            folder.path,
            self.study,
            queue,
            self.workers,
            self.progress,
            self.until,
            trials,
        ).run()
        return self._finish()

    def _own_queue(self, trials: int) -> Queue:
        path = self.folder.path / "study.journal"
        self.study = open_study(path, self.recipe, self._directions(), self.workers)
        return OwnQueue(self.study, self.recipe, trials, self.workers)

    def _shared_queue(self, trials: int, shared: Shared) -> Queue:
        from edgepress.deploy.searching.running.database import begin

        name = shared.study or self.folder.path.absolute().name
        database = begin(
            shared.storage,
            name,
            self.recipe,
            self._directions(),
            self.folder.path,
            trials,
            shared.resume,
        )
        self.study = database.study
        self.progress.stage(f"other workers join by: {database.how_to_join}")
        return SharedQueue(database, self.recipe, self.workers)

    def _directions(self) -> list[str]:
        higher = self.data.task.higher_is_better
        smaller = [OBJECTIVES[name].smaller for name in self.recipe.search.objectives]
        return ["minimize" if (not higher if s is None else s) else "maximize" for s in smaller]

    def _trial_folder(self, number: int) -> Path:
        return trial_folder(self.folder.path, number)

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
        trials = counted(self.study)
        tried = len(trials)
        on_front = f"{len(best.numbers)} of {tried} recipes are on the front"
        found = SearchRecord.model_validate(
            {
                "version": 2,
                "objectives": list(objectives),
                "chosen_by": "val" if self.data.val is not None else self.data.report_split.name,
                "split": self.data.report_split.name,
                "metric": self.data.task.metric,
                "trials": [self._told(trial, best) for trial in trials],
                "front": best.numbers,
                "front_by": best.by,
                "headline": on_front
                if best.numbers
                else f"none of {tried} recipes gave an accepted file",
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
            stopped_after=kept.get("stopped") or None,
        )

    def _report(self, found: SearchRecord) -> None:
        """The page: the front in full, or what was tried where there is none."""
        from edgepress.benchmarks.report.search_page import runs_to_show, write_search_page

        self.progress.stage("write the report")
        write_search_page(found, runs_to_show(found, self.folder.path), self.folder.report)
