"""The full pipeline: model and data in, verified and measured files out, every stage resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.records import (
    VERSION,
    BenchmarkRecord,
    ExportRecord,
    RunPath,
    RunRecord,
    StageRecord,
    Verdict,
    write_run,
)
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.kernel.files import content_key, sha256
from edgepress.compress.kernel.onednn import crash_notes
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.deploy.pipeline.acceptance import judge_run, refuse_at_chance
from edgepress.deploy.pipeline.finished import Finished
from edgepress.deploy.pipeline.measuring import measure_files
from edgepress.deploy.pipeline.opening import check_run_output, opened_run
from edgepress.deploy.pipeline.recipe_checks import check_recipe
from edgepress.deploy.pipeline.run_folder import RunFolder, keep_changed
from edgepress.deploy.pipeline.stage_gains import receipt
from edgepress.deploy.pipeline.stages import Stage, Work, model_stages
from edgepress.deploy.process.sharing import working
from edgepress.deploy.recipe import Recipe, check_writable, inputs_of, read_recipe
from edgepress.deploy.versions import machine, made_by, versions

if TYPE_CHECKING:
    import keras


_FIGURES = ("params", "macs", "bytes", "metric", "split", "value", "raw_bytes", "gzip_bytes",
            "metrics")  # fmt: skip
_OF_LAYERS = ("name", "type", "params", "macs", "activation_bytes")
_FLOAT_FILE = "model.tflite"


@dataclass(frozen=True)
class RunResult(Finished[RunRecord]):
    """A finished run, with what `run.json` holds."""

    @property
    def verdict(self) -> Verdict:
        """Whether the run is accepted, and everything that speaks against it."""
        assert self.contents.verdict is not None
        return self.contents.verdict

    @property
    def accepted(self) -> bool:
        """Whether every artifact is verified and within the accepted drop."""
        return self.verdict.accepted

    def to_json(self) -> dict[str, Any]:
        """What `compress --json` prints."""
        keys = ("before", "after", "stages", "artifacts", "skipped", "benchmark", "accepted")
        found = self.contents.at(self.folder)
        return {
            "run": str(self.folder),
            "report": str(RunFolder(self.folder).report),
            **{k: found[k] for k in (*keys, "rejected", "unmet", "verdict")},
        }


def run(
    recipe: Recipe | Path | str | None,
    output: Path | str,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    shared: Path | None = None,
) -> RunResult:
    """Run the full pipeline: fine-tune, prune, recover, strip, export, verify, benchmark, report.

    Trains in this process: where native code crashes, it ends the process. The command line trains
    in a child process and goes on by itself.

    Args:
        recipe: A recipe or its file; None with `resume` takes the one in the run's folder.
        output: Folder of the run.
        resume: Whether a run that stopped there goes on; finished stages are kept.
        force: Whether an earlier run there is replaced.
        progress: Receives the progress.
        shared: Folder of what several runs have in common: stages, scores on data; None keeps them
            to the run.

    Returns:
        The run. Nothing is raised for a failed check: see `verdict`.

    Raises:
        InputError: The recipe, model or data can't be used, or the output is taken.
    """
    progress = progress or Silent()
    path = Path(output)
    given = recipe is not None
    if recipe is None:
        if not resume:
            raise InputError("a run needs a recipe")
        recipe = RunFolder(path).recipe
        if recipe.is_file():
            RunFolder(path).check_recipe()
    plan = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    check_writable(plan)
    inputs = [*inputs_of(plan), None if recipe is plan else recipe]
    if not resume:
        check_run_output(path, force, inputs)
    line = _Line(plan, progress)
    with opened_run(path, resume, force, inputs, given=given) as folder:
        return line.run(replace(folder, shared=shared))


def _load(recipe: Recipe, source: Any) -> keras.Model:
    """A model, with what its file says of the training that it comes from."""
    from edgepress.compress.models import load_noted, restore_compilation

    loaded = load_noted(source, recipe.custom_objects, recipe.unsafe_lambda)
    restore_compilation(loaded, source, recipe.custom_objects)
    return loaded.model


def _training_state(model: keras.Model) -> list[str]:
    """What a compiled model's optimizer remembers, as a hash: recovery goes on from it."""
    from edgepress.compress.training.optimization.optimizer_state import slots_hash

    optimizer = getattr(model, "optimizer", None)
    return [slots_hash(optimizer, model)] if optimizer is not None and optimizer.built else []


def _same(one: keras.Model, other: keras.Model) -> bool:
    """Whether two models are known to compute the same in the same way."""
    from edgepress.compress.data.evaluation import identity

    return identity(one) == identity(other) is not None


class _Line:
    """One run in progress."""

    def __init__(self, recipe: Recipe, progress: Progress) -> None:
        from edgepress.compress.data import open_data
        from edgepress.compress.models import fingerprint

        self.recipe = recipe
        self.progress = progress
        progress.stage(f"load {recipe.model} and its data")
        self.original = _load(recipe, recipe.model)
        self.dataset = open_data(recipe.data, self.original, recipe.seed)
        self.dataset.report_split  # noqa: B018  raises before any work where there is none
        check_recipe(recipe, self.dataset, self.original)
        self.key = content_key(
            fingerprint(self.original),
            *_training_state(self.original),
            self.dataset.fingerprint,
            self.dataset.task.text(),
            recipe.seed,
            versions(),
        )

    def run(self, folder: RunFolder) -> RunResult:
        self.folder = folder
        with working() as self.worker:
            return self._run()

    def _run(self) -> RunResult:
        self.folder.write_recipe(self.recipe)
        model = self.original
        stages: list[StageRecord] = []
        for number, stage in enumerate(model_stages(self.recipe)):
            if stage.kind == "prune":
                refuse_at_chance(stages)
            before = stages[-1] if stages else None
            model, record = self._model_stage(f"{number:02d}-{stage.name}", stage, model, before)
            stages.append(record)
        exported = self._export(model, len(stages))
        measured = self._benchmark(exported, stages)
        run_record = self._record(stages, exported, measured)
        write_run(self.folder.record, run_record)
        self._report()
        self.folder.list_files()
        return RunResult(self.folder.path, run_record)

    def _model_stage(
        self, name: str, stage: Stage, model: keras.Model, before: StageRecord | None
    ) -> tuple[keras.Model, StageRecord]:
        """Run a stage, or read what it left; the model always comes from its file."""
        from edgepress.compress.models import save
        from edgepress.compress.models.own_training import train_like

        self.key = content_key(self.key, stage.kind, stage.settings)
        done = self.folder.finished_stage(name, self.key)
        if done is None:
            self.progress.stage(stage.title)
            began = time.monotonic()
            with self.folder.writing(name, self.key) as (folder, result):
                new, did = stage.run(self._work(model, name, folder))
                save(new, folder / "model.keras")
                result.update({"name": name, "kind": stage.kind, "title": stage.title, **did})
                if _same(new, model) and before is not None and before.float_sha256 is not None:
                    shutil.copy(self.folder.stage(before.name) / _FLOAT_FILE, folder)
                figures = self._figures(new, folder)
                # Those of the stage itself stand beside what it began with.
                figures["metrics"] = did.get("metrics") or figures["metrics"]
                result.update(figures)
                result["seconds"] = time.monotonic() - began
            done = self.folder.finished_stage(name, self.key)
            assert done is not None
            self.folder.share(name, self.key)
        new = _load(self.recipe, self.folder.stage(name) / "model.keras")
        train_like(new, self.original)
        return new, done

    def _work(self, model: keras.Model, name: str, folder: Path) -> Work:
        state = self.folder.state(name)
        return Work(
            model,
            self.original,
            self.dataset,
            self.recipe.seed,
            state,
            folder,
            self.progress,
            self.folder.shared,
        )

    def _figures(self, model: keras.Model, folder: Path) -> dict[str, Any]:
        """A stage's model in numbers, and as a float32 TFLite file for the receipt."""
        from edgepress.compress.cost import layer_costs, model_cost
        from edgepress.compress.data import figures
        from edgepress.compress.kernel.files import gzip_size
        from edgepress.deploy.exporting.export import convert

        task, split = self.dataset.task, self.dataset.report_split
        file = folder / _FLOAT_FILE
        is_there = file.is_file()  # the stage before had an equal model
        if not is_there:
            self.worker.begin("tflite")
        cost, rows = model_cost(model), figures(model, split, task)
        problem = "" if is_there else convert(model, file, "tflite", "float32", self.worker)
        return {
            "params": cost.params,
            "macs": cost.macs,
            "layers": [{n: getattr(row, n) for n in _OF_LAYERS} for row in layer_costs(model)],
            "uncounted": [vars(found) for found in cost.uncounted],
            "bytes": (folder / "model.keras").stat().st_size,
            "metric": task.metric,
            "split": split.name,
            "value": task.headline_of(rows),
            "metrics": [vars(row) for row in rows],
            "raw_bytes": None if problem else file.stat().st_size,
            "gzip_bytes": None if problem else gzip_size(file),
            "float_file": problem or file.name,
            "float_sha256": None if problem else sha256(file),
        }

    def _export(self, model: keras.Model, number: int) -> ExportRecord:
        from edgepress.deploy.exporting.export import export

        spec = self.recipe.export
        name = f"{number:02d}-export"
        self.key = content_key(self.key, "export", spec.model_dump(mode="json"))
        done = self.folder.finished_export(name, self.key)
        if done is not None:
            return done
        self.progress.stage(f"export {', '.join(spec.formats)} as {', '.join(spec.quantize)}")
        began = time.monotonic()
        keep_changed(self.folder.artifacts)
        with self.folder.writing(name, self.key) as (_, result):
            exported = export(
                model,
                self.folder.artifacts,
                spec=spec,
                data=self.dataset,
                seed=self.recipe.seed,
                force=True,
                progress=self.progress,
                worker=self.worker,
            )
            found = exported.to_json()
            for artifact in found["artifacts"]:
                artifact["path"] = RunPath.of(Path(artifact["path"]), self.folder.path)
            result.update({"name": name, "kind": "export", **found})
            result["seconds"] = time.monotonic() - began
        done = self.folder.finished_export(name, self.key)
        assert done is not None
        if not done.artifacts and self.folder.artifacts.is_dir():
            shutil.rmtree(self.folder.artifacts)  # those of other settings, as they were written
        return done

    def _benchmark(self, exported: ExportRecord, stages: Sequence[StageRecord]) -> BenchmarkRecord:
        """Measure the artifacts and every stage's float file, interleaved in one run."""
        from edgepress.deploy.benchmarking.benchmark import RunFile
        from edgepress.deploy.sources.source import files_data, keras_source

        spec, data = self.recipe.benchmark, files_data(keras_source(self.original), self.dataset)
        files = [
            RunFile(a.path.under(self.folder.path), a.quantize)
            for a in exported.artifacts
            if a.verified and a.path.endswith((".tflite", ".onnx"))  # C sources don't run
        ]
        files += [
            RunFile(self.folder.stage(s.name) / _FLOAT_FILE, "float32", shows_stage=True)
            for s in stages
            if s.float_sha256 is not None
        ]
        self.progress.stage(f"benchmark on {', '.join(spec.devices)}")
        return measure_files(spec, files, self.folder.path, self.recipe.seed, self.progress, data)

    def _record(
        self, stages: Sequence[StageRecord], exported: ExportRecord, measured: BenchmarkRecord
    ) -> RunRecord:
        given = self._given_on_part()
        verdict = judge_run(self.recipe, self.dataset.task, stages, exported, measured, given)
        return RunRecord.model_validate(
            {
                "version": VERSION,
                **made_by(),
                "edgepress": versions()["edgepress"],
                "model": self.recipe.model,
                "seed": self.recipe.seed,
                "versions": versions(),
                "machine": machine(),
                "data": self.dataset.summary(),
                "warnings": [*self.dataset.warnings, *exported.on_all, *crash_notes()],
                "recipe": self.recipe.model_dump(mode="json"),
                "before": {k: getattr(stages[0], k) for k in _FIGURES},
                "after": {k: getattr(stages[-1], k) for k in _FIGURES},
                "stages": receipt(stages, measured),
                "artifacts": exported.artifacts,
                "skipped": exported.skipped,
                "rejected": exported.failed,
                "benchmark": measured,
                "verdict": verdict,
                "unmet": [check.text for check in verdict.unmet],
                "accepted": verdict.accepted,
            }
        )

    def _given_on_part(self) -> tuple[OutputMetric, ...]:
        """The given model's metrics on the samples that files are verified on.

        Empty where those are the whole split, which the first stage is measured on, and where no
        fall is bounded. A part of the split may be harder or easier than the rest.
        """
        from edgepress.deploy.verification.source_outputs import gather

        samples = self.recipe.export.verify_samples
        bounded = self.recipe.accept.max_drop is not None
        if not bounded or samples is None or samples >= self.dataset.report_split.size:
            return ()
        return gather(self.original, self.dataset, samples, self.recipe.seed).metrics

    def _report(self) -> None:
        from edgepress.benchmarks.report import report

        self.progress.stage("write the report")
        report([self.folder.path], self.folder.report)
