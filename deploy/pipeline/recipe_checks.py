"""What a recipe would stumble over after hours of training, found before the first minute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepress.compress.specs.recipe import UNSTRUCTURED, PruneSpec, TrainSpec
from edgepress.deploy.recipe import ExportSpec, Recipe


def check_recipe(recipe: Recipe, dataset: Any, model: Any = None) -> None:
    """Refuse names that don't exist and options that can't go together, of every step.

    Args:
        recipe: The whole line.
        dataset: Its open data.
        model: Its model, where it is loaded already.

    Raises:
        InputError: Names the option, or the class whose own training would be left out.
    """
    epochs = [recipe.finetune.epochs] if recipe.finetune is not None else []
    epochs += [*(step.recover_epochs for step in recipe.prune), recipe.export.qat_epochs]
    if model is not None and any(epochs):
        from edgepress.compress.models.own_training import refuse_own_step

        refuse_own_step(model)
    if recipe.finetune is not None:
        _check_training(recipe.finetune)
    for step in recipe.prune:
        _check_training(step.recovery())
        _check_pruning(step, dataset)
    _check_export(recipe.export)
    _check_benchmark(recipe)


def _check_benchmark(recipe: Recipe) -> None:
    from edgepress.benchmarks.runtimes.runtime import RUNTIME_OF_SUFFIX
    from edgepress.deploy.benchmarking.run_options import check_options, run_options
    from edgepress.deploy.targets import target_for

    spec = recipe.benchmark
    targets = [target_for(device, spec.bootstrap) for device in spec.devices]
    options = run_options(spec.xnnpack, spec.delegates, spec.providers, spec.cpus)
    chosen = replace(options, threads=max(spec.threads), batch=max(spec.batch, default=None))
    # Each stage's model is measured as a TFLite file, whatever is exported.
    suffixes = {".tflite", *(f".{name}" for name in recipe.export.formats)}
    files = [Path(f"model{s}") for s in suffixes if s in RUNTIME_OF_SUFFIX]
    check_options([chosen], files, targets, spec.profile, spec.precision is not None)


def _check_training(spec: TrainSpec) -> None:
    from edgepress.compress.training.optimization.optimizers import OPTIMIZERS
    from edgepress.compress.training.optimization.schedules import schedule_of

    OPTIMIZERS[spec.optimizer]
    schedule_of(spec)


def _check_pruning(spec: PruneSpec, dataset: Any) -> None:
    if spec.structure in UNSTRUCTURED:
        from edgepress.compress.weights.pruning import check_spec

        check_spec(spec, dataset)
        return
    if spec.device is not None:
        from edgepress.deploy.benchmarking.measurers import clocked_target

        clocked_target(spec.device)
    from edgepress.compress.structure.importance import CRITERIA
    from edgepress.compress.structure.planning.resolving import resolved

    CRITERIA[resolved(spec, dataset).criterion]


def _check_export(spec: ExportSpec) -> None:
    from edgepress.deploy.exporters import Settings
    from edgepress.deploy.exporting.options import check_options

    settings = Settings(
        spec.io,
        spec.graph_batch,
        spec.opset,
        spec.nchw,
        spec.calibration_method,
        spec.select_ops,
        spec.shapes,
        spec.equalize,
        spec.bias_correction,
        spec.sparse_encoding,
    )
    qat, drop = spec.qat_epochs, spec.int8_max_drop
    check_options(spec.formats, spec.quantize, settings, True, qat, drop)
