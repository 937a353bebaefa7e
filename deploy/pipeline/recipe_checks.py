"""What a recipe would stumble over after hours of training, found before the first minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError
from edgepress.compress.specs.pruning import ChannelsSpec, PackedSpec
from edgepress.compress.specs.recipe import PruneSpec, TrainSpec
from edgepress.deploy.pipeline.budgets import check_budgets
from edgepress.deploy.recipe import Recipe

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset


def check_recipe(recipe: Recipe, dataset: Dataset, model: keras.Model | None = None) -> None:
    """Refuse names that don't exist and options that can't go together, of every step.

    Args:
        recipe: The full pipeline.
        dataset: Its open data.
        model: Its model, where it is loaded already.

    Raises:
        InputError: Names the option, or the class whose own training would be left out.
    """
    from edgepress.deploy.exporting.checks import check as check_export

    epochs = [recipe.finetune.epochs] if recipe.finetune is not None else []
    epochs += [*(step.recover.epochs for step in recipe.prune), recipe.export.qat_epochs]
    if model is not None and any(epochs):
        from edgepress.compress.models.own_training import refuse_own_step

        refuse_own_step(model)
    if model is not None:
        _check_weights(recipe, dataset, model)
    if recipe.finetune is not None:
        _check_training(recipe.finetune)
    for step in recipe.prune:
        _check_training(step.recovery())
        _check_pruning(step, dataset)
    check_export(recipe.export)
    if recipe.export.with_features:
        raise InputError(
            "a run compares its files with those of its stages, which take features",
            "leave with_features out, and export the run's model with --with-features",
        )
    check_budgets(recipe)
    _check_benchmark(recipe)


def _check_weights(recipe: Recipe, dataset: Dataset, model: keras.Model) -> None:
    """Refuse weights of classes or labels that don't fit the task, of every training."""
    from edgepress.compress.training.weight_checks import check_weights

    if recipe.finetune is not None and recipe.finetune.epochs:
        check_weights(model, dataset, recipe.finetune, recipe.finetune.teacher is not None)
    for step in recipe.prune:
        if step.recover.epochs:
            check_weights(model, dataset, step.recover, step.recover.distill)


def _check_benchmark(recipe: Recipe) -> None:
    from edgepress.benchmarks.runtimes.runtime import RUNTIME_OF_SUFFIX
    from edgepress.deploy.benchmarking.checks import check
    from edgepress.deploy.targets import target_for

    spec = recipe.benchmark
    spec.run_options()  # A malformed delegate is said here.
    targets = [target_for(device, spec.bootstrap) for device in spec.devices]
    # Each stage's model is measured as a TFLite file, whatever is exported.
    suffixes = {".tflite", *(f".{name}" for name in recipe.export.formats)}
    check(spec, [Path(f"model{s}") for s in suffixes if s in RUNTIME_OF_SUFFIX], targets)


def _check_training(spec: TrainSpec) -> None:
    from edgepress.compress.training.optimization.optimizers import OPTIMIZERS
    from edgepress.compress.training.optimization.schedules import schedule_of

    OPTIMIZERS[spec.optimizer]
    schedule_of(spec)


def _check_pruning(spec: PruneSpec, dataset: Dataset) -> None:
    if isinstance(spec, PackedSpec):
        from edgepress.compress.weights.pruning import check_spec

        check_spec(spec, dataset)
        return
    spec.check(dataset is not None)
    if isinstance(spec, ChannelsSpec):
        from edgepress.compress.structure.importance import CRITERIA
        from edgepress.compress.structure.planning.resolving import resolved
        from edgepress.deploy.benchmarking.measurers import clocked_target

        if spec.device is not None:
            clocked_target(spec.device)
        CRITERIA[resolved(spec, dataset).criterion]
