"""Unstructured pruning, start to end: masks, training with masks, and the account of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.context import Context, make_context
from edgepress.compress.models.rebuilding.copying import copy_model, copy_state
from edgepress.compress.pruning_run import PruningRun, model_figures, uncounted_notes
from edgepress.compress.specs.pruning import SECOND_ORDER, ClustersSpec, PackedSpec, ZerosSpec
from edgepress.compress.specs.pruning_result import PruneResult, Removed
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.weights.allocation.criteria import WEIGHT_CRITERIA
from edgepress.compress.weights.allocation.packed_size import prune_to_size
from edgepress.compress.weights.allocation.planning import (
    MaskPlan,
    apply_masks,
    current_masks,
    plan_masks,
    with_sparsity,
)
from edgepress.compress.weights.clusters.shared_values import (
    HoldClusters,
    share_values,
    shared_values,
)
from edgepress.compress.weights.masked_training import GradualMasks, HoldMasks
from edgepress.compress.weights.masks.kernel_sparsity import kernel_sparsity
from edgepress.compress.weights.masks.masks import Mask
from edgepress.compress.weights.masks.prunable import PrunableWeight, find_kernels
from edgepress.compress.weights.schedules import Ramp, rounds, turns
from edgepress.compress.weights.sparsity_notes import remarks

if TYPE_CHECKING:
    import keras

Masks = Mapping[str, Mask]


@dataclass(eq=False)
class _Run(PruningRun):
    """A pruning that sets weights to zero: the source stays, `model` changes.

    Attributes:
        model: The copy that is pruned.
        plan: What may become zero, and how much of it.
        every: All kernels of the model, those that stay too.
        shared: How many values the kernels have that an earlier step clustered.
    """

    spec: ZerosSpec
    _: KW_ONLY
    model: keras.Model
    plan: MaskPlan
    every: tuple[PrunableWeight, ...]
    shared: Mapping[str, int]


def prune_weights(
    model: keras.Model,
    dataset: Dataset | None,
    spec: PruneSpec,
    context: Context | None = None,
    **fields: Any,
) -> PruneResult:
    """Set weights of a copy of a model to zero (or cluster them) and recover its accuracy.

    Args:
        model: A built Keras model; it stays as it is.
        dataset: What to train and measure on; without it nothing is trained or measured.
        spec: What is removed, when, and the training.
        context: What travels with them; a target in packed bytes needs its instruments.
        **fields: Those of a `Context`, where none is given.

    Returns:
        The pruned model, plain, with exactly the zeros that were asked for; and the account.

    Raises:
        InputError: An option is impossible for this model or without data.
    """
    assert isinstance(spec, PackedSpec)
    check_spec(spec, dataset)
    context = make_context(context, fields)
    if spec.target_size is None:
        return _prune(model, dataset, spec, context)

    def attempt(resolved: PackedSpec, number: int) -> PruneResult:
        check_spec(resolved, dataset)
        folder = context.state_dir / f"try-{number + 1}" if context.state_dir else None
        return _prune(model, dataset, resolved, replace(context, state_dir=folder))

    return prune_to_size(model, spec, attempt, context)


def _prune(
    model: keras.Model, dataset: Dataset | None, spec: PackedSpec, context: Context
) -> PruneResult:
    """Prune by a sparsity, a pattern, a number of parameters or of clusters."""
    if isinstance(spec, ClustersSpec):
        from edgepress.compress.weights.clusters.clustering import prune_to_clusters

        return prune_to_clusters(model, dataset, spec, context)
    assert isinstance(spec, ZerosSpec)
    copy = copy_model(model)
    spec = with_sparsity(copy, spec)
    plan = plan_masks(copy, spec)
    if spec.allocation == "sensitivity" and dataset is not None:
        plan = _by_sensitivity(copy, plan, dataset, spec, context)
    every, _ = find_kernels(copy, depthwise=True)
    shared = {} if spec.recover.release_clusters else shared_values(every)
    run = _Run(model, dataset, spec, context, model=copy, plan=plan, every=every, shared=shared)
    with run.timed("measure"):
        before = model_figures(model, dataset)
    masks = _METHODS[spec.schedule](run)
    apply_masks(plan.kernels, masks)
    share_values(every, shared, context.seed)
    with run.timed("measure"):
        after = model_figures(copy, dataset)
        sparsity = kernel_sparsity(copy)
    return PruneResult(
        model=copy,
        structure=spec.structure,
        criterion=spec.criterion,
        before=before,
        after=after,
        sparsity=sparsity,
        removed=_removed(plan),
        pinned=plan.pinned,
        seconds=run.seconds,
        history=run.history,
        notes=(*remarks(plan, sparsity), *run.notes, *uncounted_notes(after.uncounted)),
    )


def _by_sensitivity(
    model: keras.Model, plan: MaskPlan, dataset: Dataset, spec: ZerosSpec, context: Context
) -> MaskPlan:
    from edgepress.compress.weights.allocation.loss_curves import measured_densities

    progress = context.progress
    progress.stage("measure how much each kernel affects the outputs")
    found = measured_densities(
        model, plan, dataset, spec.calibration_samples, context.seed, progress
    )
    return replace(plan, overrides={**found, **plan.overrides})


def _one_shot(run: _Run) -> Masks:
    """Masks once, from the trained weights; then recovery under them."""
    run.context.progress.stage("prune")
    with run.timed("prune"):
        masks = _choose(run)
        apply_masks(run.plan.kernels, masks)
    _recover(run, masks, "recover")
    return masks


def _iterative(run: _Run) -> Masks:
    """Several rounds, each followed by a recovery that starts from the full learning rate."""
    masks: Masks = {}
    for number, sparsity in enumerate(rounds(run.plan.final, run.spec.steps), 1):
        run.context.progress.stage(f"prune, round {number} of {run.spec.steps}")
        with run.timed("prune"):
            masks = run.plan.masks(sparsity)
            if run.spec.rewind:
                copy_state(run.source, run.model)
            apply_masks(run.plan.kernels, masks)
        _recover(run, masks, f"round-{number}")
    return masks


def _gradual(run: _Run) -> Masks:
    """Masks on a schedule while the model trains."""
    run.context.progress.stage("prune while training")
    callback = GradualMasks(run.plan, _turns(run))
    run.fit(run.model, run.spec.recovery(), "gradual", [callback], remarks=False)
    return callback.masks()


def _moving(run: _Run) -> Masks:
    """Masks once, then moved by gradients while the model trains."""
    from edgepress.compress.weights.rigl import RegrownMasks, loss_gradients

    spec, kernels = run.spec, run.plan.kernels
    assert run.dataset is not None
    run.context.progress.stage("prune, then train with moving masks")
    with run.timed("prune"):
        masks = _choose(run)
        apply_masks(kernels, masks)
    gradients = loss_gradients(
        run.model, run.dataset, kernels, 4 * spec.recover.batch_size, run.context.seed
    )
    _, end = _steps(run)
    callback = RegrownMasks(kernels, masks, gradients, _frequency(spec, end), end)
    run.fit(run.model, spec.recovery(), "moving", [callback], remarks=False)
    return callback.masks()


_METHODS: dict[str, Callable[[_Run], Masks]] = {
    "one-shot": _one_shot,
    "moving": _moving,
    "iterative": _iterative,
    "constant": _gradual,
    "polynomial": _gradual,
}


def _choose(run: _Run) -> Masks:
    if run.spec.criterion != SECOND_ORDER:
        return run.plan.masks(run.plan.final)
    from edgepress.compress.weights.second_order import refit_and_mask

    assert run.dataset is not None
    samples = run.dataset.calibration(run.spec.calibration_samples, run.context.seed)
    masks, unread = refit_and_mask(run.source, run.model, run.plan, samples, run.context.progress)
    if unread:
        run.notes.append(
            "second order can't see the inputs of these kernels (recurrent, embeddings, transposed"
            " and separable ones, channels first), which were masked by magnitude and not"
            f" refitted: {', '.join(unread)}"
        )
    return masks


def _recover(run: _Run, masks: Masks, name: str) -> None:
    if run.spec.recover.epochs:
        run.context.progress.stage("recover")
        held = share_values(run.every, run.shared, run.context.seed)
        callbacks = [HoldMasks(run.plan.kernels, masks)]
        callbacks += [HoldClusters(run.model, held)] if held else []
        run.fit(run.model, run.spec.recovery(), name, callbacks)


def _turns(run: _Run) -> Mapping[int, float]:
    """The turns of a gradual schedule in this training's steps."""
    spec = run.spec
    total, end = _steps(run)
    if not spec.begin_step < min(end, total):
        raise InputError(
            f"begin_step {spec.begin_step} does not lie before the ramp's end: the training has"
            f" {total} steps, the ramp ends at {min(end, total)}",
            "give more recover_epochs or an earlier begin_step",
        )
    initial = min(spec.initial_sparsity, run.plan.final)
    frequency = _frequency(spec, end)
    ramp = Ramp(run.plan.final, initial, spec.begin_step, end, frequency, spec.power)
    return turns(spec.schedule, ramp, total)


def _steps(run: _Run) -> tuple[int, int]:
    """Steps of the training, and the one after which masks don't change any more."""
    assert run.dataset is not None
    spec = run.spec
    total = spec.recover.epochs * run.dataset.training_split.steps(spec.recover.batch_size)
    return total, spec.end_step if spec.end_step is not None else max(1, total * 3 // 4)


def _frequency(spec: ZerosSpec, end: int) -> int:
    """Steps between two turns: TFMOT's 100, unless so few turns would make a ramp of cliffs."""
    return spec.frequency or min(100, max(1, (end - spec.begin_step) // 30))


def check_spec(spec: PruneSpec, dataset: Dataset | None) -> None:
    """Refuse, before any work, what doesn't exist or can't be done together.

    Args:
        spec: An unstructured step.
        dataset: The data, or None.

    Raises:
        InputError: Names the option.
    """
    if isinstance(spec, ZerosSpec) and spec.criterion != SECOND_ORDER:
        WEIGHT_CRITERIA[spec.criterion]
    spec.check(dataset is not None)


def _removed(plan: MaskPlan) -> tuple[Removed, ...]:
    held = current_masks(plan.kernels, plan.label)
    return tuple(Removed(k.path, (k.layer_path,), held[k.path].zeros, k.size) for k in plan.kernels)
