"""The stages that change a model: each takes one, gives one, and says what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.context import Context
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.recipe import FinetuneSpec, PruneSpec
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
        shared: Folder of what several runs have in common, or None.
    """

    model: Any
    original: Any
    dataset: Any
    seed: int
    state_dir: Path
    folder: Path
    progress: Progress
    shared: Path | None = None


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
            Context(work.seed, work.state_dir, work.progress, shared=work.shared),
        )
        if result.history:
            draw_curves(result.history, work.folder / "curves.png")
        return result.model, result.to_json()

    title = f"prune {spec.structure} to {spec.aim()}"
    if spec.recover.epochs:
        title += f", recover for {spec.recover.epochs} epochs"
    return Stage(f"prune-{spec.structure}", "prune", title, spec.model_dump(mode="json"), run)
