"""The stages that change a model: each takes one, gives one, and says what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.recipe import TARGETS, FinetuneSpec, PruneSpec
from edgepress.deploy.recipe import Recipe


@dataclass(frozen=True)
class Work:
    """What a stage may use.

    Attributes:
        model: The model that the stage before left.
        original: The model that the run began with.
        dataset: The open data.
        seed: Seed of the run.
        state_dir: Folder for checkpoints.
        folder: Where the stage may write pictures.
        progress: Receives the progress.
    """

    model: Any
    original: Any
    dataset: Any
    seed: int
    state_dir: Path
    folder: Path
    progress: Progress


@dataclass(frozen=True)
class Stage:
    """One stage of the line.

    Attributes:
        name: Folder name without its number.
        kind: "source", "finetune", "prune" or "strip".
        title: What people read while it runs.
        settings: What changes its result, as JSON-able values.
        run: Gives the new model and what it did, as JSON-able values.
    """

    name: str
    kind: str
    title: str
    settings: dict[str, Any]
    run: Callable[[Work], tuple[Any, dict[str, Any]]]


def model_stages(recipe: Recipe) -> list[Stage]:
    """The stages that a recipe asks for, from the source model to the plain one."""
    stages = [Stage("source", "source", "load and measure the model", {}, _source)]
    if recipe.finetune is not None:
        stages.append(_finetune_stage(recipe.finetune))
    stages += [_prune_stage(spec) for spec in recipe.prune]
    stages.append(Stage("strip", "strip", "strip what only training needed", {}, _strip))
    return stages


def _source(work: Work) -> tuple[Any, dict[str, Any]]:
    return work.model, {}


def _strip(work: Work) -> tuple[Any, dict[str, Any]]:
    from edgepress.compress.stripping import strip

    return strip(work.model), {}


def _finetune_stage(spec: FinetuneSpec) -> Stage:
    def run(work: Work) -> tuple[Any, dict[str, Any]]:
        from edgepress.compress.training import finetune_as
        from edgepress.compress.training.curves import draw_curves

        result = finetune_as(
            spec,
            work.model,
            work.dataset,
            seed=work.seed,
            state_dir=work.state_dir,
            progress=work.progress,
        )
        done = result.to_json()
        draw_curves(done["history"], work.folder / "curves.png")
        return result.model, done

    title = f"fine-tune {', '.join(spec.unfreeze)} for {spec.epochs} epochs"
    return Stage("finetune", "finetune", title, spec.model_dump(mode="json"), run)


def _prune_stage(spec: PruneSpec) -> Stage:
    def run(work: Work) -> tuple[Any, dict[str, Any]]:
        from edgepress.compress.training.curves import draw_curves
        from edgepress.deploy.pruning import prune_as

        result = prune_as(
            spec,
            work.model,
            work.dataset,
            seed=work.seed,
            state_dir=work.state_dir,
            progress=work.progress,
        )
        if result.history:
            draw_curves(result.history, work.folder / "curves.png")
        return result.model, result.to_json()

    title = f"prune {spec.structure} to {_target(spec)}"
    if spec.recover_epochs:
        title += f", recover for {spec.recover_epochs} epochs"
    return Stage(f"prune-{spec.structure}", "prune", title, spec.model_dump(mode="json"), run)


def _target(spec: PruneSpec) -> str:
    """What a step aims at, in words."""
    for name in TARGETS:
        value = getattr(spec, name)
        if value is not None:
            shown = f"{value:g}" if isinstance(value, float) else value
            return f"{name.replace('_', ' ')} {shown}"
    if spec.structure == "clusters":
        return f"{spec.clusters} values"
    return f"pattern {spec.pattern}"
