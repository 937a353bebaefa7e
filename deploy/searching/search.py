"""The search: draw a recipe, run its line, judge it, until enough were tried."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.files import write_json
from edgepress.compress.progress import Progress, Silent
from edgepress.deploy.foreseeing import check_recipe
from edgepress.deploy.pipeline import measure_files
from edgepress.deploy.recipe import Recipe, read_recipe, write_recipe
from edgepress.deploy.run_folder import RunFolder, open_run
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.space import SearchRecipe, ends, values_of
from edgepress.deploy.searching.study import begun, draw, front, open_study, record, unfinished
from edgepress.deploy.searching.trial import judge, start

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_POLL_S = 0.2


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Attributes:
        folder: Its folder.
        record: What `search.json` holds.
    """

    folder: Path
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What `search --json` prints."""
        return {"run": str(self.folder), "report": str(RunFolder(self.folder).report)} | self.record


def search(
    recipe: SearchRecipe | Path | str,
    output: Path | str,
    *,
    trials: int = 20,
    workers: int = 1,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> SearchResult:
    """Try many recipes; keep those that no other beats in every objective.

    Every trial is the whole line in a process and a run folder of its own. Recipes are judged on
    validation data (where the data has a test split too), and reported on test data.

    Args:
        recipe: A recipe with a `search` part, or its file.
        output: Folder of the search: `search.json`, `report.html`, `trials/NNNN/`.
        trials: Recipes that are tried, those of an earlier stop included.
        workers: Trials that run at once; they share the processor, so latencies are noisier.
        resume: Whether a search that stopped there goes on.
        force: Whether an earlier search there is replaced.
        progress: Receives the progress.

    Returns:
        The search.

    Raises:
        InputError: The recipe, model or data can't be used, nothing varies, or the output is taken.
        CheckFailed: No trial gave an accepted file.
    """
    if trials < 1 or workers < 1:
        raise InputError("a search needs at least one trial and one worker")
    plan = recipe if isinstance(recipe, SearchRecipe) else read_recipe(Path(recipe), SearchRecipe)
    plans = list(ends(plan))
    driver = _Search(plan, workers, progress or Silent())
    for varied in plans:
        check_recipe(varied, driver.data)
    return driver.run(open_run(Path(output), resume, force), trials)


@dataclass
class _Running:
    """A trial in progress."""

    number: int
    recipe: Recipe
    process: subprocess.Popen[bytes]


class _Search:
    """One search in progress."""

    def __init__(self, recipe: SearchRecipe, workers: int, progress: Progress) -> None:
        from edgepress.compress.data import open_data
        from edgepress.compress.models import load

        progress.stage(f"load {recipe.model} and its data")
        model = load(recipe.model, recipe.custom_objects, recipe.unsafe_lambda)
        self.data = open_data(recipe.data, model, recipe.seed)
        self.recipe, self.workers, self.progress = recipe, workers, progress
        # Workers that each take all cores would wait for one another.
        self.threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None

    def run(self, folder: RunFolder, trials: int) -> SearchResult:
        self.folder = folder
        write_recipe(self.recipe, folder.recipe)
        self.study = open_study(
            folder.path / "study.journal", self.recipe, self._directions(), self.workers
        )
        self._try(trials)
        best = front(self.study)
        if not best:
            raise CheckFailed(f"none of {trials} recipes gave an accepted file", self._complaint())
        return self._finish(best)

    def _directions(self) -> list[str]:
        higher = self.data.task.higher_is_better
        smaller = [OBJECTIVES[name].smaller for name in self.recipe.search.objectives]
        return ["minimize" if (not higher if s is None else s) else "maximize" for s in smaller]

    def _trial_folder(self, number: int) -> Path:
        return self.folder.path / "trials" / f"{number:04d}"

    def _try(self, trials: int) -> None:
        """Run trials until as many are done; none is left running, whatever happens."""
        waiting = unfinished(self.study)
        fresh = max(0, trials - begun(self.study))
        running: list[_Running] = []
        self.progress.stage(f"try {trials} recipes")
        try:
            while waiting or running or fresh:
                while len(running) < self.workers and (waiting or fresh):
                    if waiting:
                        number, drawn = waiting.pop(0)
                    else:
                        number, drawn = draw(self.study, self.recipe, self.workers)
                        fresh -= 1
                    running.append(self._start(number, drawn))
                time.sleep(_POLL_S)
                for trial in [r for r in running if r.process.poll() is not None]:
                    running.remove(trial)
                    self._end(trial, trials)
        finally:
            for trial in running:
                _stop(trial.process)

    def _start(self, number: int, drawn: Mapping[str, Any]) -> _Running:
        recipe = self.recipe.with_values(values_of(self.recipe, drawn))
        return _Running(number, recipe, start(recipe, self._trial_folder(number), self.threads))

    def _end(self, trial: _Running, trials: int) -> None:
        folder = self._trial_folder(trial.number)
        outcome = judge(
            trial.process.returncode, folder, self.recipe.search, trial.recipe, self.data
        )
        record(self.study, trial.number, outcome)
        shown = ", ".join(
            f"{n} {v:.4g}"
            for n, v in zip(self.recipe.search.objectives, outcome.values, strict=False)
        )
        done = sum(t.state.is_finished() for t in self.study.trials)
        text = f"trial {trial.number}: {shown or outcome.reason}"
        self.progress.step(done, trials, text)

    def _complaint(self) -> str:
        reasons = [t.user_attrs.get("reason") for t in self.study.trials]
        return f"the last said: {next((r for r in reversed(reasons) if r), '')}"

    def _finish(self, best: list[int]) -> SearchResult:
        """Measure the front alone and interleaved, write what was found, and the report."""
        from edgepress.benchmarks.report import report

        figures = self._measure(best)
        found = {
            "objectives": list(self.recipe.search.objectives),
            "chosen_by": "val" if self.data.val is not None else self.data.report_split.name,
            "split": self.data.report_split.name,
            "metric": self.data.task.metric,
            "trials": [self._told(trial) for trial in self.study.trials],
            "front": best,
            "benchmark": figures,
        }
        write_json(self.folder.path / "search.json", found)
        self.progress.stage("write the report")
        report([self._trial_folder(number) for number in best], self.folder.report)
        return SearchResult(self.folder.path, found)

    def _measure(self, best: list[int]) -> dict[str, Any]:
        trials = self.study.trials
        artifacts = [self._trial_folder(n) / trials[n].user_attrs["artifact"] for n in best]
        runnable = [path for path in artifacts if path.suffix in (".tflite", ".onnx")]
        if not runnable:
            return {}
        self.progress.stage(f"measure {len(runnable)} files of the front, interleaved")
        spec = self.recipe.benchmark.model_copy(update={"profile": False})
        found = measure_files(spec, runnable, self.recipe.seed, self.progress)
        relative: dict[str, Any] = self.folder.relative(found)
        return relative

    def _told(self, trial: FrozenTrial) -> dict[str, Any]:
        kept = trial.user_attrs
        folder = self._trial_folder(trial.number)
        return {
            "number": trial.number,
            "folder": str(folder.relative_to(self.folder.path)),
            "values": values_of(self.recipe, trial.params),
            "accepted": bool(kept.get("accepted")),
            "artifact": kept.get("artifact", ""),
            "figures": kept.get("figures") or {},
            "reason": kept.get("reason", ""),
        }


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a line end as Ctrl-C would end it; it keeps what is finished."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
