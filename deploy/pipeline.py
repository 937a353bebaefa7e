"""The whole line: model and data in, verified and measured files out, every stage resumable."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.files import check_output, content_key, write_json
from edgepress.compress.progress import Progress, Silent
from edgepress.deploy.accepting import unmet
from edgepress.deploy.foreseeing import check_recipe
from edgepress.deploy.receipt import receipt
from edgepress.deploy.recipe import BenchmarkSpec, Recipe, read_recipe, write_recipe
from edgepress.deploy.run_folder import RunFolder, open_run
from edgepress.deploy.stages import Stage, Work, model_stages
from edgepress.deploy.surroundings import machine, versions
from edgepress.deploy.worker import Worker


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: Its folder.
        record: What `run.json` holds.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def accepted(self) -> bool:
        """Whether every artifact is verified and within the accepted drop."""
        return bool(self.record["accepted"])

    def to_json(self) -> dict[str, Any]:
        """What `compress --json` prints."""
        keys = ("before", "after", "stages", "artifacts", "skipped", "benchmark", "accepted")
        folder = RunFolder(self.folder)
        shown = {k: self.record[k] for k in (*keys, "rejected", "unmet")}
        return {
            "run": str(folder.path),
            "report": str(folder.report),
            **folder.absolute(shown),
        }


def run(
    recipe: Recipe | Path | str | None,
    output: Path | str,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Run the whole line: fine-tune, prune, recover, strip, export, verify, benchmark, report.

    Args:
        recipe: A recipe or its file; None with `resume` takes the one in the run's folder.
        output: Folder of the run.
        resume: Whether a run that stopped there goes on; finished stages are kept.
        force: Whether an earlier run there is replaced.
        progress: Receives the progress.

    Returns:
        The run. Nothing is raised for a failed check: see `accepted`.

    Raises:
        InputError: The recipe, model or data can't be used, or the output is taken.
    """
    progress = progress or Silent()
    path = Path(output)
    if recipe is None:
        if not resume:
            raise InputError("a run needs a recipe")
        recipe = RunFolder(path).recipe
    plan = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    if not resume:
        check_output(path, force)
    line = _Line(plan, progress)
    return line.run(open_run(path, resume, force))


def measure_files(
    spec: BenchmarkSpec, files: list[Path], seed: int, progress: Progress, data: Any = None
) -> dict[str, Any]:
    """Measure files that a finished run holds; what can't be measured is said, not raised.

    The models and files are whole by then: a device that fails, or an option that suits none of
    the files which came out, doesn't take them along.
    """
    from edgepress.deploy.benchmarking import benchmark

    try:
        return benchmark(
            files, **spec.model_dump(), data=data, seed=seed, progress=progress
        ).to_json()
    except (DeviceError, InputError) as error:
        failure = {"device": spec.devices[0], "artifact": "", "reason": str(error.message)}
        return {"device": {}, "rows": [], "comparisons": [], "failures": [failure]}


def _load(recipe: Recipe, source: Any) -> Any:
    """A model, with what its file says of the training that it comes from."""
    from edgepress.compress.models import load_noted, restore_compilation

    loaded = load_noted(source, recipe.custom_objects, recipe.unsafe_lambda)
    restore_compilation(loaded, source, recipe.custom_objects)
    return loaded.model


def _training_state(model: Any) -> list[str]:
    """What a compiled model's optimizer remembers, as a hash: recovery goes on from it."""
    from edgepress.compress.finetune.optimizer_state import slots_hash

    optimizer = getattr(model, "optimizer", None)
    return [slots_hash(optimizer, model)] if optimizer is not None and optimizer.built else []


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
        check_recipe(recipe, self.dataset)
        self.key = content_key(
            fingerprint(self.original),
            *_training_state(self.original),
            self.dataset.fingerprint,
            recipe.seed,
            versions(),
        )

    def run(self, folder: RunFolder) -> RunResult:
        self.folder = folder
        with Worker() as self.worker:
            return self._run()

    def _run(self) -> RunResult:
        write_recipe(self.recipe, self.folder.recipe)
        model, stages = self.original, []
        for number, stage in enumerate(model_stages(self.recipe)):
            model, record = self._model_stage(f"{number:02d}-{stage.name}", stage, model)
            stages.append(record)
        exported = self._export(model, len(stages))
        measured = self._benchmark(exported, stages)
        record = self.folder.relative(self._record(stages, exported, measured))
        write_json(self.folder.record, record)
        self._report()
        return RunResult(self.folder.path, record)

    def _model_stage(self, name: str, stage: Stage, model: Any) -> tuple[Any, dict[str, Any]]:
        """Run a stage, or read what it left; the model always comes from its file."""
        from edgepress.compress.models import save

        self.key = content_key(self.key, stage.kind, stage.settings)
        done = self.folder.finished(name, self.key)
        if done is None:
            self.progress.stage(stage.title)
            began = time.monotonic()
            with self.folder.writing(name, self.key) as (folder, result):
                new, did = stage.run(self._work(model, name, folder))
                save(new, folder / "model.keras")
                result.update({"name": name, "kind": stage.kind, "title": stage.title, **did})
                result.update(self._figures(new, folder))
                result["seconds"] = time.monotonic() - began
            done = self.folder.finished(name, self.key)
        return _load(self.recipe, self.folder.stage(name) / "model.keras"), done or {}

    def _work(self, model: Any, name: str, folder: Path) -> Work:
        state = self.folder.state(name)
        return Work(
            model, self.original, self.dataset, self.recipe.seed, state, folder, self.progress
        )

    def _figures(self, model: Any, folder: Path) -> dict[str, Any]:
        """A stage's model in numbers, and as a float32 TFLite file for the receipt."""
        from edgepress.compress.cost import model_cost
        from edgepress.compress.data import evaluate
        from edgepress.compress.files import gzip_size
        from edgepress.deploy.exporting import convert

        task, split = self.dataset.task, self.dataset.report_split
        cost = model_cost(model)
        file = folder / "model.tflite"
        problem = convert(model, file, "tflite", "float32", self.worker)
        return {
            "params": cost.params,
            "macs": cost.macs,
            "uncounted": [vars(found) for found in cost.uncounted],
            "bytes": (folder / "model.keras").stat().st_size,
            "metric": task.metric,
            "split": split.name,
            "value": evaluate(model, split, task),
            "raw_bytes": None if problem else file.stat().st_size,
            "gzip_bytes": None if problem else gzip_size(file),
            "float_file": problem or file.name,
        }

    def _export(self, model: Any, number: int) -> dict[str, Any]:
        from edgepress.deploy.exporting import export

        spec = self.recipe.export
        name = f"{number:02d}-export"
        self.key = content_key(self.key, "export", spec.model_dump(mode="json"))
        done = self.folder.finished(name, self.key)
        if done is not None and self.folder.artifacts.is_dir():
            return done
        self.progress.stage(f"export {', '.join(spec.formats)} as {', '.join(spec.quantize)}")
        began = time.monotonic()
        with self.folder.writing(name, self.key) as (_, result):
            exported = export(
                model,
                self.folder.artifacts,
                **spec.model_dump(),
                data=self.dataset,
                seed=self.recipe.seed,
                force=True,
                progress=self.progress,
                worker=self.worker,
            )
            result.update({"name": name, "kind": "export", **exported.to_json()})
            result["seconds"] = time.monotonic() - began
        return self.folder.finished(name, self.key) or {}

    def _benchmark(
        self, exported: dict[str, Any], stages: Iterable[dict[str, Any]]
    ) -> dict[str, Any]:
        """Measure the artifacts and every stage's float file, interleaved in one run."""
        spec = self.recipe.benchmark
        paths = [Path(a["path"]) for a in exported["artifacts"] if a["verified"]]
        artifacts = [p for p in paths if p.suffix in (".tflite", ".onnx")]  # C sources don't run
        files = {s["name"]: self.folder.stage(s["name"]) / "model.tflite" for s in stages}
        present = {name: path for name, path in files.items() if path.exists()}
        self.progress.stage(f"benchmark on {', '.join(spec.devices)}")
        everything = [*artifacts, *present.values()]
        return measure_files(spec, everything, self.recipe.seed, self.progress, self.dataset)

    def _record(
        self,
        stages: list[dict[str, Any]],
        exported: dict[str, Any],
        measured: dict[str, Any],
    ) -> dict[str, Any]:
        figures = ("params", "macs", "bytes", "metric", "split", "value", "raw_bytes", "gzip_bytes")
        artifacts, rejected = exported["artifacts"], exported.get("failed", [])
        failed = unmet(self.recipe, self.dataset.task, stages, artifacts)
        return {
            "edgepress": versions()["edgepress"],
            "model": self.recipe.model,
            "seed": self.recipe.seed,
            "versions": versions(),
            "machine": machine(),
            "data": self.dataset.summary(),
            "warnings": list(self.dataset.warnings),
            "recipe": self.recipe.model_dump(mode="json"),
            "before": {k: stages[0].get(k) for k in figures},
            "after": {k: stages[-1].get(k) for k in figures},
            "stages": receipt(stages, measured),
            "artifacts": artifacts,
            "skipped": exported["skipped"],
            "rejected": rejected,
            "benchmark": measured,
            "unmet": failed,
            "accepted": not rejected and not failed,
        }

    def _report(self) -> None:
        from edgepress.benchmarks.report import report

        self.progress.stage("write the report")
        report([self.folder.path], self.folder.report)
