"""The picks once more: measured alone and interleaved, and held against the floor on test data."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow, read_run
from edgepress.benchmarks.records.fit import FloorRecord, PickRecord
from edgepress.benchmarks.records.search import TrialRecord
from edgepress.compress.data import Dataset
from edgepress.compress.kernel.files import atomic_output, sha256
from edgepress.compress.kernel.manifest import first_foreign
from edgepress.compress.kernel.progress import Progress
from edgepress.deploy.benchmarking.benchmark import RunFile
from edgepress.deploy.fitting.floor import floors
from edgepress.deploy.fitting.limits import held
from edgepress.deploy.fitting.outcome import words_of_trial
from edgepress.deploy.fitting.spec import FitRecipe
from edgepress.deploy.pipeline.measuring import measure_files
from edgepress.deploy.pipeline.run_folder import RunFolder
from edgepress.deploy.recipe import AcceptSpec, read_recipe, write_recipe
from edgepress.deploy.searching.limits import Limit
from edgepress.deploy.searching.objectives import ROW_FIELDS

_PICKS = "picks"


def picked(
    folder: RunFolder,
    recipe: FitRecipe,
    trials: Sequence[TrialRecord],
    names: Mapping[int, Sequence[str]],
    data: Dataset,
    limits: Sequence[Limit],
    progress: Progress,
) -> tuple[BenchmarkRecord, tuple[PickRecord, ...]]:
    """Copy the picks out of their trials, measure them beside the given model, and judge them.

    Args:
        folder: Of the fit.
        recipe: Its recipe.
        trials: All trials; the first is the given model.
        names: Names of the picks by number of their trial.
        data: The data; its test split decides over the floor.
        limits: What may not be exceeded.
        progress: Receives the progress.

    Returns:
        The measurement, and the picks in the order of `names`.
    """
    files = {number: folder.path / _copied(folder, recipe, trials[number], words)
             for number, words in names.items()}  # fmt: skip
    _forget_others(folder.path / _PICKS, {path.parent for path in files.values()})
    given = float_file(folder.path / trials[0].folder, 0)
    spec = recipe.benchmark.model_copy(update={"profile": False})
    chosen = [RunFile(given, "float32", shows_stage=True)]
    chosen += [RunFile(p, str(trials[n].values["quantize"])) for n, p in files.items()]
    measured = measure_files(spec, chosen, folder.path, recipe.seed, progress, data)
    before = measured.row_of(sha256(given))
    found = []
    for number, path in files.items():
        trial, row = trials[number], measured.row_of(sha256(path))
        objective, ratio = _objective(recipe.fit.minimise, (trials[0], trial), (before, row))
        kept: tuple[FloorRecord, ...] = ()
        if row is not None and before is not None:
            kept = tuple(floors(before, row, recipe.fit.max_drop))
        found.append(
            PickRecord(
                names=tuple(names[number]),
                trial=number,
                words=words_of_trial(trial),
                file=path.relative_to(folder.path).as_posix(),
                recipe=path.with_name("recipe.yaml").relative_to(folder.path).as_posix(),
                quantize=str(trial.values["quantize"]),
                sha256=trial.sha256,
                objective=objective,
                ratio=ratio,
                floors=kept,
                limits=tuple(held(limit, measured, before, row) for limit in limits),
            )
        )
    return measured, tuple(found)


def float_file(folder: Path, stage: int) -> Path:
    """The model of a trial's stage as a float32 TFLite file: 0 is the given one, -1 the last."""
    run = RunFolder(folder)
    return run.stage(read_run(run.record).stages[stage].name) / "model.tflite"


def _copied(folder: RunFolder, recipe: FitRecipe, trial: TrialRecord, names: Sequence[str]) -> Path:
    """Copy a trial's file and recipe to `picks/NAME`; where the file is, in the fit's folder.

    The recipe gets the floor, so that `compress` holds a run of it against that.
    """
    place = Path(_PICKS) / "-".join(names)
    run = folder.path / trial.folder
    plan = read_recipe(RunFolder(run).recipe)
    accept = AcceptSpec(max_drop=recipe.fit.max_drop)
    file = Path(trial.artifact).name
    with atomic_output(folder.path / place, force=True, folder=True) as temporary:
        temporary.mkdir(parents=True)
        shutil.copyfile(run / trial.artifact, temporary / file)
        write_recipe(plan.model_copy(update={"accept": accept}), temporary / "recipe.yaml")
    return place / file


def _forget_others(place: Path, kept: set[Path]) -> None:
    """Remove the picks of an earlier call; what somebody else put there, or changed, stays."""
    for path in place.iterdir():
        if path not in kept and path.is_dir() and first_foreign(path) is None:
            shutil.rmtree(path)


def _objective(
    name: str,
    trials: tuple[TrialRecord, TrialRecord],
    rows: tuple[BenchmarkRow | None, BenchmarkRow | None],
) -> tuple[float | None, float | None]:
    """What is minimised, and as a multiple of the given model's.

    Both as measured last, interleaved, where that gives such a figure; else as the trials had it.

    Args:
        name: Of the objective.
        trials: The given model's, and the pick's.
        rows: Of the given model's float32 file, and of the pick's.
    """
    field = ROW_FIELDS.get(name, name)
    given, value = (None if row is None else getattr(row, field, None) for row in rows)
    if value is None:
        given, value = (trial.figures.get(name) for trial in trials)
    return value, value / given if value is not None and given else None
