"""From a floor of the metric to the files that keep it: try, train what is worth it, measure."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgepress.benchmarks.records import BenchmarkRecord, read_run
from edgepress.benchmarks.records.fit import FitRecord, FitTrial, PickRecord
from edgepress.benchmarks.records.reading import validated
from edgepress.benchmarks.records.search import TrialRecord
from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.kernel.files import read_json, write_json
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.deploy.fitting.choosing import Next, Tried, best, choose, expected_seconds
from edgepress.deploy.fitting.last_look import float_file, picked
from edgepress.deploy.fitting.outcome import FitResult, headline, nearest
from edgepress.deploy.fitting.picking import picks
from edgepress.deploy.fitting.plans import Plan, first_plans, recipe_of
from edgepress.deploy.fitting.precisions import (
    candidates,
    cheapest,
    refuse_uncounted_energy,
    zeros_pay,
)
from edgepress.deploy.fitting.scoring import Scorer
from edgepress.deploy.fitting.spec import FitRecipe
from edgepress.deploy.pipeline.opening import opened_run
from edgepress.deploy.pipeline.recipe_checks import check_recipe
from edgepress.deploy.pipeline.run_folder import IN_COMMON, RunFolder
from edgepress.deploy.recipe import Recipe, check_writable, inputs_of
from edgepress.deploy.searching.limits import Limit, limits_of
from edgepress.deploy.searching.space import SearchSpec
from edgepress.deploy.searching.trial import Outcome, judge, start, stop

_POLL_S = 0.2
# Share of the time that the last measurement and the test data are kept for.
_RESERVED = 0.12


def fit(
    recipe: FitRecipe,
    output: Path | str,
    *,
    seconds: float = 1200.0,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> FitResult:
    """Find the smallest or fastest files that keep a floor of the metric.

    Every trial is a run of the full pipeline in a process and folder of its own: its recipe makes
    its file again. Trials are judged on validation data alone; the picks are then held against the
    floor on test data, which had no say in any choice.

    Args:
        recipe: Model, data, device, and what is minimised and kept.
        output: Folder of the fit: `fit.json`, `report.html`, `trials/NNNN/`, `picks/NAME/`.
        seconds: Time that trials may take, that of earlier calls not counted.
        resume: Whether a fit that ended or stopped there goes on with more time.
        force: Whether an earlier fit there is replaced.
        progress: Receives the progress.

    Returns:
        The fit; `picks` are empty where no file keeps the floor on validation data.

    Raises:
        InputError: The recipe, model or data can't be used, or the output is taken.
        CheckFailed: The given model itself gives no verified file.
    """
    if seconds <= 0:
        raise InputError("a fit needs time above 0 seconds")
    check_writable(recipe)
    driver = _Fit(recipe, seconds, progress or Silent())
    driver.check()
    with opened_run(Path(output), resume, force, inputs_of(recipe), given=True) as folder:
        return driver.run(replace(folder, more=(folder.path / "fit.json",)))


@dataclass
class _Fit:
    """One fit in progress."""

    recipe: FitRecipe
    seconds: float
    progress: Progress
    trials: list[TrialRecord] = field(default_factory=list)
    plans: list[FitTrial] = field(default_factory=list)
    underway: FitTrial | None = None
    spent_s: float = 0.0
    quantize: str = ""
    limits: list[Limit] = field(default_factory=list)

    def __post_init__(self) -> None:
        from edgepress.compress.data import open_data
        from edgepress.compress.models import load

        recipe = self.recipe
        self.progress.stage(f"load {recipe.model} and its data")
        self.model = load(recipe.model, recipe.custom_objects, recipe.unsafe_lambda)
        self.data = open_data(recipe.data, self.model, recipe.seed)
        self.data.training_split  # noqa: B018  raises before any work where there is none
        self.scorer = Scorer(self.model, self.data)

    def check(self) -> None:
        """Refuse, before any work, what a trial would end with.

        Raises:
            InputError: A device, a precision or an option of the training can't be used, or none of
                the devices counts the energy that is minimised.
        """
        fit = self.recipe.fit
        precisions = candidates(fit.format, fit.quantize)
        for plan in (Plan(), first_plans(False)[0]):
            check_recipe(recipe_of(self.recipe, plan, 1, precisions), self.data, self.model)
        if fit.minimise == "energy":
            refuse_uncounted_energy(self.recipe.benchmark.devices)

    def run(self, folder: RunFolder) -> FitResult:
        self.folder, self.began = folder, time.monotonic()
        self._go_on()
        folder.write_recipe(self.recipe)
        if not self.trials:
            self._try_given()
        elif not self.limits:
            self.limits = self._read_limits()
        while (chosen := self._choose()) is not None and self._try(chosen):
            pass
        return self._finish()

    def _go_on(self) -> None:
        """Read what an earlier call found."""
        path = self.folder.path / "fit.json"
        if not path.is_file():
            return
        earlier = validated(FitRecord, read_json(path), f"'{path}'")
        asked = self.recipe.fit
        before = (earlier.minimise, earlier.max_drop, earlier.limits)
        if before != (asked.minimise, asked.max_drop, asked.limits):
            raise InputError(
                f"'{path}' was made for another objective, floor or limit", "choose another -o"
            )
        self.trials, self.plans = list(earlier.trials), list(earlier.plans)
        self.spent_s, self.quantize, self.underway = (
            earlier.spent_s,
            earlier.quantize,
            earlier.underway,
        )

    def _left(self) -> float:
        """Seconds for trials."""
        return self.seconds * (1 - _RESERVED) - (time.monotonic() - self.began)

    def _tried(self) -> list[Tried]:
        return [
            Tried(
                Plan(t.share, t.sparsity, t.qat),
                t.rung,
                t.seconds,
                t.objective,
                None if t.drop is None else t.drop + t.error,
                t.over,
                t.float_drop,
            )
            for t in self.plans
        ]

    def _choose(self) -> Next | None:
        """The trial that was under way, whose folder holds what it has done; else the best one."""
        fit, begun = self.recipe.fit, self.underway
        if begun is not None:
            return Next(Plan(begun.share, begun.sparsity, begun.qat), begun.rung)
        return choose(self._tried(), fit.max_drop, zeros_pay(fit.minimise), self._left())

    def _try_given(self) -> None:
        """Export the model as it is in every precision, and see which one pays."""
        precisions = candidates(self.recipe.fit.format, self.recipe.fit.quantize)
        self.progress.stage(f"measure the given model as {', '.join(precisions)}")
        recipe = recipe_of(self.recipe, Plan(), 0, precisions)
        began = time.monotonic()
        code = self._run(0, recipe)
        assert code is not None  # without the given model there is nothing to show
        seconds = time.monotonic() - began
        outcomes = {q: self._judge(code, 0, recipe, q) for q in precisions}
        known = {q: o for q, o in outcomes.items() if o.values}
        if not known:
            reason = next(iter(outcomes.values())).reason
            raise CheckFailed(
                f"the given model itself gives no file that can be judged: {reason}",
                f"see edgepress doctor {self.recipe.model}, or minimise something else",
            )
        self.limits = self._read_limits()
        drops = {q: self.scorer.scores[o.sha256 or ""].drop for q, o in known.items()}
        self.quantize = cheapest(known, drops, self.recipe.fit.max_drop, self.limits)
        given = FitTrial(share=1.0, sparsity=0.0, rung=0, seconds=seconds)
        self._record(0, known[self.quantize], given, self.quantize)
        # What training for int8 may bring within the floor is one of the trials.
        pays_most = cheapest(known, dict.fromkeys(known, 0.0), 0.0, self.limits)
        if self._trainable() and self.quantize != pays_most == "int8":
            self._record(0, known["int8"], given.model_copy(update={"qat": True}), "int8")

    def _trainable(self) -> bool:
        """Whether training for int8 is one of the ways."""
        fit = self.recipe.fit
        return fit.format == "tflite" and "int8" in candidates(fit.format, fit.quantize)

    def _read_limits(self) -> list[Limit]:
        """The limits, from what the first trial measured of the given model's float file."""
        run = read_run(RunFolder(self._trial(0)).record)
        given = run.benchmark.row_of(run.stages[0].file)
        return limits_of(self.recipe.fit.limits, given)

    def _try(self, chosen: Next) -> bool:
        """Run one trial; whether it was done before the time was up."""
        number, plan = len(self.trials), chosen.plan
        expected, left = expected_seconds(chosen, self._tried()), self._left()
        quantize = "int8" if plan.qat else self.quantize
        recipe = recipe_of(self.recipe, plan, chosen.rung, (quantize,))
        self.progress.stage(
            f"try {plan.words()}, {chosen.epochs} epochs (about {expected:.0f} s of the"
            f" {max(left, 0.0):.0f} s left)"
        )
        begun = self.underway or FitTrial(
            share=plan.share, sparsity=plan.sparsity, qat=plan.qat, rung=chosen.rung, seconds=0.0
        )
        self.underway, began = begun, time.monotonic()
        self._write(self._told())
        code = self._run(number, recipe)
        trial = begun.model_copy(update={"seconds": begun.seconds + time.monotonic() - began})
        if code is None:
            self.underway = trial
            return False
        self.underway = None
        self._record(number, self._judge(code, number, recipe, quantize), trial, quantize)
        return True

    def _run(self, number: int, recipe: Recipe) -> int | None:
        """Run a trial's process to its end, or until the time is up: then None."""
        process = start(recipe, self._trial(number), None)
        try:
            while process.poll() is None:
                if number and self._left() <= 0:
                    self.progress.stage("the time is up; the trial goes on with --resume")
                    stop(process)
                    return None
                time.sleep(_POLL_S)
        except BaseException:
            stop(process)
            raise
        return process.returncode

    def _trial(self, number: int) -> Path:
        return self.folder.path / "trials" / f"{number:04d}"

    def _judge(self, code: int, number: int, recipe: Recipe, quantize: str) -> Outcome:
        fit = self.recipe.fit
        asked = SearchSpec(
            objectives=tuple(dict.fromkeys(("metric", fit.minimise, *fit.limits))),
            format=self.recipe.fit.format,
            quantize=quantize,
        )
        return judge(code, self._trial(number), asked, recipe, self.data, scored=self.scorer.score)

    def _record(self, number: int, outcome: Outcome, plan: FitTrial, quantize: str) -> None:
        """Write down a trial, so that nothing of it is lost.

        Args:
            number: Of its folder.
            outcome: What it came to.
            plan: What was tried.
            quantize: The precision of its file.
        """
        folder = self._trial(number)
        tried = Plan(plan.share, plan.sparsity, plan.qat)
        if outcome.values and outcome.accepted:
            plan = plan.model_copy(update=self._figures(outcome, folder, tried, quantize))
        words = tried.words()
        self.plans.append(plan)
        self.trials.append(
            TrialRecord(
                number=len(self.trials),
                folder=str(folder.relative_to(self.folder.path)),
                values={
                    "plan": words,
                    "epochs": sum(tried.epochs(plan.rung)),
                    "quantize": quantize,
                },
                accepted=outcome.accepted,
                artifact=outcome.artifact,
                sha256=outcome.sha256,
                figures=dict(outcome.figures or {}),
                reason=outcome.reason,
            )
        )
        self._write(self._told())
        kept = best(self._tried(), self.recipe.fit.max_drop)
        shown = f"{words}: " + (outcome.reason or f"falls by {plan.drop:.4f}")
        if plan.over > 0:
            shown += f", {plan.over:.1%} over a limit"
        if kept is not None:
            shown += f"; best so far: {kept.plan.words()}"
        self.progress.step(len(self.trials), 0, shown)

    def _figures(
        self, outcome: Outcome, folder: Path, plan: Plan, quantize: str
    ) -> dict[str, float | None]:
        """What choices follow from: objective, fall, excess over the limits."""
        score, figures = self.scorer.scores[outcome.sha256 or ""], outcome.figures or {}
        over = max((limit.over(figures) for limit in self.limits), default=0.0)
        missed = score.drop + score.error > self.recipe.fit.max_drop
        float_drop = None
        if missed and quantize == "int8" and not plan.qat and self._trainable():
            float_drop = self.scorer.fall(float_file(folder, -1))
        return {
            "objective": outcome.values[1],
            "drop": score.drop,
            "error": score.error,
            "over": over,
            "float_drop": float_drop,
        }

    def _told(self, **more: Any) -> FitRecord:
        fit, data = self.recipe.fit, self.data
        spent = self.spent_s + time.monotonic() - self.began
        values = {
            "version": 1,
            "objectives": ("metric", fit.minimise),
            "chosen_by": self.scorer.split,
            "split": data.report_split.name,
            "metric": data.task.metric,
            "trials": self.trials,
            "minimise": fit.minimise,
            "max_drop": fit.max_drop,
            "limits": dict(fit.limits),
            "quantize": self.quantize,
            "spent_s": spent,
            "plans": self.plans,
            "underway": self.underway,
            **more,
        }
        return FitRecord.model_validate(values)

    def _write(self, record: FitRecord) -> None:
        write_json(self.folder.path / "fit.json", record.to_json())
        self.folder.list_files()

    def _finish(self) -> FitResult:
        """Measure the picks alone, interleaved and on test data; write what was found."""
        chosen = picks(self._tried(), self.recipe.fit.max_drop)
        numbers = sorted({self.trials[place].number for place in chosen.values()})
        measured: BenchmarkRecord = BenchmarkRecord()
        found: tuple[PickRecord, ...] = ()
        if chosen:
            self.progress.stage("measure the picks and the given model, interleaved")
            names = {n: [k for k, place in chosen.items() if place == n] for n in numbers}
            measured, found = picked(self.folder, self.recipe, self.trials, names, self.data,
                                     self.limits, self.progress)  # fmt: skip
        near = (
            ()
            if found
            else nearest(self._tried(), self.trials, self.limits, self.recipe.fit.max_drop)
        )
        record = self._told(
            picks=found,
            nearest=near,
            front=numbers,
            front_by=f"{self.recipe.fit.minimise} of the trials, {self.scorer.split} data",
            headline=headline(found, self.recipe.fit, self.data, self.limits, len(self.trials)),
            benchmark=measured,
        )
        self._write(record)
        self._report(record)
        shutil.rmtree(self.folder.path / IN_COMMON, ignore_errors=True)
        self.folder.list_files()
        return FitResult(self.folder.path, record)

    def _report(self, record: FitRecord) -> None:
        from edgepress.benchmarks.report.search_page import runs_to_show, write_search_page

        self.progress.stage("write the report")
        write_search_page(record, runs_to_show(record, self.folder.path), self.folder.report)
