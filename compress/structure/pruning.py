"""Structured pruning, start to end: plan, remove, repair, recover, and the account of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepress.compress.accounting import PruningRun, model_figures
from edgepress.compress.data import Dataset, evaluate
from edgepress.compress.errors import InputError
from edgepress.compress.finetune.copying import copy_model
from edgepress.compress.finetune.holding import held_weights, holding_notes
from edgepress.compress.progress import Progress, Silent
from edgepress.compress.recipe import PruneSpec, TrainSpec
from edgepress.compress.results import Measured, ModelFigures, Pinned, PruneResult, Removed
from edgepress.compress.structure.groups import Alive, Channels, find_channels
from edgepress.compress.structure.metering import (
    Instruments,
    budget_for,
    latency_limit,
    measured_target,
)
from edgepress.compress.structure.plan import choose
from edgepress.compress.structure.repair import repair
from edgepress.compress.structure.replay import affordable
from edgepress.compress.structure.slots import carry_optimizer, compile_like, copy_optimizer
from edgepress.compress.structure.surgery import Surgery, remove
from edgepress.compress.weights.cluster import share_values, shared_values
from edgepress.compress.weights.counting import kernel_sparsity
from edgepress.compress.weights.prunable import find_kernels

# What "auto" stands for: with data, and without.
AUTO = ("taylor", "l1")
DURING_TRAINING = ("constant", "polynomial")


@dataclass(eq=False)
class StructuredRun(PruningRun):
    """A pruning that removes things for real.

    Attributes:
        optimizer: Built for the model as it is now, with the state that training goes on from;
            None until there is one.
        instruments: Measures files and devices, where there is something that can.
        measured: What they showed in the last round.
    """

    optimizer: Any = None
    instruments: Instruments | None = None
    measured: tuple[Measured, ...] = ()

    def round(self, model: Any, spec: PruneSpec, name: str) -> Any:
        """Remove, repair and recover once; gives the new model."""
        with self.timed("prune"):
            channels = find_channels(model, spec.protect)
            alive = self.choose(channels, spec)
            surgery = remove(channels, alive)
        return self.finish(surgery, spec, name)

    def choose(self, channels: Channels, spec: PruneSpec) -> Alive:
        """The units that stay; what was measured for it goes into the account."""
        budget = budget_for(channels, spec, self.instruments)
        alive = choose(channels, spec, self.dataset, budget, self.seed)
        if budget.metering is not None:
            now = budget.metering.accounts
            first = {m.what: m.before for m in self.measured or now}
            self.measured = tuple(replace(m, before=first[m.what]) for m in now)
            self.notes += budget.metering.notes
        return alive

    def shrink(self, model: Any, spec: PruneSpec) -> Any:
        """Train while what will go shrinks, then remove, repair and recover; the new model."""
        from edgepress.compress.structure.shrinking import (
            ShrinkChannels,
            doomed_weights,
            growth_for,
        )

        assert self.dataset is not None
        before, after = epochs_of(spec)
        # What shrinks would draw the others of its cluster along.
        update = {"epochs": before, "restore_best": False, "release_clusters": True}
        training = spec.recovery().model_copy(update=update)
        steps = before * self.dataset.training_split.steps(training.batch_size)
        growth = growth_for(spec, steps)
        with self.timed("prune"):
            shrunk = copy_model(model)
            channels = find_channels(shrunk, spec.protect)
            alive = self.choose(channels, spec)
            callback = ShrinkChannels(doomed_weights(channels, alive), growth)
            self.optimizer = copy_optimizer(model, shrunk)
        kernels, _ = find_kernels(shrunk, depthwise=True)
        shared = {} if spec.release_clusters else shared_values(kernels)
        self.train(shrunk, training, "shrink", (callback,))
        with self.timed("prune"):
            share_values(kernels, shared, self.seed)
            surgery = remove(channels, alive)
        self._say_what_the_cut_did(shrunk, surgery.model, callback.left)
        return self.finish(surgery, spec.model_copy(update={"recover_epochs": after}), "recover")

    def finish(self, surgery: Surgery, spec: PruneSpec, name: str) -> Any:
        """Repair and recover what surgery left, where that is asked for."""
        self.optimizer = carry_optimizer(surgery, self.optimizer)
        if self.dataset is not None and spec.repair and not surgery.is_whole:
            with self.timed("repair"):
                count = affordable(surgery.channels.model, spec.calibration_samples)
                samples = self.dataset.calibration(count, self.seed)
                unseen = self.dataset.judging(count, self.seed)
                held = held_weights(surgery.model.weights, spec)
                repair(surgery, samples, self.seed, held, unseen)
        if self.dataset is not None and spec.recover_epochs:
            self.train(surgery.model, spec.recovery(), name)
        return surgery.model

    def train(
        self, model: Any, training: TrainSpec, name: str, callbacks: Sequence[Any] = ()
    ) -> None:
        """Train a model in place, from the optimizer's state and on to its next."""
        from edgepress.compress.finetune.optimizer_state import carries
        from edgepress.compress.finetune.optimizers import OPTIMIZERS

        assert self.dataset is not None
        fresh = OPTIMIZERS[training.optimizer](training)
        if not carries(self.optimizer, fresh):
            fresh.build(model.trainable_variables)
            self.optimizer = fresh
        self.fit(
            model, training, name, callbacks, optimizer=self.optimizer, remarks=name != "shrink"
        )

    def figures(self, model: Any) -> ModelFigures:
        """A model in numbers."""
        with self.timed("measure"):
            return model_figures(model, self.dataset)

    def result(
        self,
        model: Any,
        before: ModelFigures,
        removed: tuple[Removed, ...],
        pinned: tuple[Pinned, ...],
    ) -> PruneResult:
        """The account of everything; compiles the model where the source is compiled."""
        after = self.figures(model)
        if self.dataset is not None and (self.spec.repair or self.spec.recover_epochs):
            held = held_weights(model.weights, self.spec)
            self.notes += holding_notes(held, "repair and recovery")
        if getattr(self.source, "compiled", False):
            self.notes.append(compile_like(self.source, model, self.optimizer))
        return PruneResult(
            model=model,
            structure=self.spec.structure,
            criterion=self.spec.criterion,
            before=before,
            after=after,
            sparsity=kernel_sparsity(model),
            removed=removed,
            pinned=pinned,
            seconds=self.seconds,
            history=self.history,
            notes=tuple(self.notes),
            measured=self.measured,
        )

    def _say_what_the_cut_did(self, shrunk: Any, cut: Any, left: float) -> None:
        assert self.dataset is not None
        split, task = self.dataset.report_split, self.dataset.task
        with self.timed("measure"):
            values = [evaluate(model, split, task) for model in (shrunk, cut)]
        self.notes.append(
            f"under the penalty the weights that go fell to {left:.2%} of their size; removing them"
            f" took {task.metric} ({split.name}) from {values[0]:.4f} to {values[1]:.4f}, before"
            " repair and recovery"
        )


def prune_channels(
    model: Any,
    dataset: Dataset | None,
    spec: PruneSpec,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
    instruments: Instruments | None = None,
) -> PruneResult:
    """Remove channels (neurons, filters, heads, units) of a model for real.

    Args:
        model: A built Functional or Sequential model; it stays as it is.
        dataset: For criteria, repair, recovery and figures; without it none of them.
        spec: What is removed, and the training.
        seed: Makes the run repeatable.
        state_dir: Folder for the training's checkpoints.
        progress: Receives the progress.
        instruments: Measures files and devices, for targets that need it.

    Returns:
        The smaller model, plain, and the account.

    Raises:
        InputError: The budget can't be reached, or an option is impossible.
    """
    spec = resolved(spec, dataset)
    run = StructuredRun(
        model, dataset, spec, seed, state_dir, progress or Silent(), instruments=instruments
    )
    channels = find_channels(model, spec.protect)
    before = run.figures(model)
    small = model
    if spec.schedule in DURING_TRAINING:
        small = run.shrink(small, spec)
    else:
        whole = _whole(model, spec, instruments)
        for number, part in enumerate(rounds_of(spec, before.macs, before.params, whole), 1):
            small = run.round(small, part, "recover" if spec.steps == 1 else f"round-{number}")
    pinned = tuple(Pinned(g.layers[0], g.reason) for g in channels.groups if g.reason)
    removed = _removed(channels, small)
    run.notes.extend(_notes(channels, spec, dataset))
    if not removed and spec.sparsity is None and measured_target(spec) is None:
        run.notes.append(
            f"nothing was removed: with {before.macs:,} MACs and {before.params:,} parameters the"
            " model is within the target already"
        )
    return run.result(small, before, removed, pinned)


def resolved(spec: PruneSpec, dataset: Dataset | None) -> PruneSpec:
    """The spec with "auto" filled in, checked against the data."""
    if spec.criterion == "auto":
        spec = spec.model_copy(update={"criterion": AUTO[dataset is None]})
    if dataset is None and spec.recover_epochs:
        raise InputError("recover_epochs needs data", "give data, or recover_epochs 0")
    _check_schedule(spec, dataset)
    return spec


def _check_schedule(spec: PruneSpec, dataset: Dataset | None) -> None:
    """Refuse a schedule that doesn't go with channels, the data or the other options."""
    if spec.schedule == "moving":
        raise InputError(
            "schedule moving is for structure weights; a removed channel doesn't come back",
            "give schedule one-shot, iterative, constant or polynomial",
        )
    if spec.schedule == "iterative" and spec.steps == 1:
        raise InputError("schedule iterative has one step only", "give steps, such as 3")
    if spec.schedule not in DURING_TRAINING:
        return
    if dataset is None or not spec.recover_epochs:
        lacks = "recover_epochs is 0" if dataset is not None else "there is no data"
        raise InputError(
            f"schedule {spec.schedule} removes channels during training, and {lacks}",
            "give data and recover_epochs, or schedule one-shot",
        )
    for name in ("steps", "initial_sparsity", "frequency"):
        if spec.asked(name):
            raise InputError(
                f"{name} is not for channels with schedule {spec.schedule}: they shrink a little"
                " with every step, and go at once",
                f"leave {name} out, or give schedule iterative with steps",
            )
    if spec.penalty_epochs is not None and spec.penalty_epochs > spec.recover_epochs:
        raise InputError(
            f"penalty_epochs {spec.penalty_epochs} is more than recover_epochs"
            f" {spec.recover_epochs}, of which they are a part",
            "give more recover_epochs",
        )


def epochs_of(spec: PruneSpec) -> tuple[int, int]:
    """Epochs under the penalty, and after the removal; together what was asked for."""
    before = spec.penalty_epochs or max(1, spec.recover_epochs // 2)
    return before, spec.recover_epochs - before


def _whole(model: Any, spec: PruneSpec, instruments: Instruments | None) -> float:
    """What the model measures in the quantity that the steps go down; 0 with one step."""
    name = measured_target(spec)
    if name is None or instruments is None or spec.steps == 1:
        return 0.0
    return float(getattr(instruments, name)(model))


def rounds_of(spec: PruneSpec, macs: int, params: int, measured: float = 0.0) -> list[PruneSpec]:
    """The steps of an iterative pruning: each keeps the same share of what the last one left.

    Half of the epochs go to the last step's recovery, the rest in equal parts to those before it.

    Args:
        spec: The whole step.
        macs: The model's MACs.
        params: The model's parameters.
        measured: What the model measures in bytes or milliseconds, where that is the target.
    """
    parts, name = [], measured_target(spec)
    for number in range(1, spec.steps + 1):
        share = number / spec.steps
        update: dict[str, Any] = {"recover_epochs": _epochs(spec, number)}
        if number > 1:
            # What was asked of these layers has gone in the first round.
            update["per_layer"] = dict.fromkeys(spec.per_layer, 0.0)
        if spec.target_macs is not None:
            update["target_macs"] = _between(spec.target_macs, macs, share)
        elif spec.target_params is not None:
            update["target_params"] = _between(spec.target_params, params, share)
        elif spec.target_latency is not None and spec.steps > 1:
            limit = _between(latency_limit(spec, measured) / measured, measured, share, 0.0)
            update["target_latency"] = f"{limit:g}ms"
        elif name is not None and spec.steps > 1:
            given = getattr(spec, f"target_{name}")
            update[f"target_{name}"] = _between(given, measured, share)
        elif spec.sparsity is not None:
            kept = 1 - spec.sparsity
            update["sparsity"] = 1 - kept ** (1 / spec.steps)
        parts.append(spec.model_copy(update=update))
    return parts


def _epochs(spec: PruneSpec, number: int) -> int:
    """Epochs of recovery after one of the steps; all of them together are what was asked for."""
    early = spec.recover_epochs // 2 // max(spec.steps - 1, 1)
    return early if number < spec.steps else spec.recover_epochs - early * (spec.steps - 1)


def _between(target: float, full: float, share: float, least: float = 2.0) -> float:
    """A number on the way from all to the target; 1 stays a share, so it is kept above 1."""
    kept = target if target <= 1 else target / full
    return max(least, full * kept**share)


def _removed(channels: Channels, small: Any) -> tuple[Removed, ...]:
    """What went from each group, counted in the model that is left."""
    left = {g.name: g.size for g in find_channels(small).groups}
    return tuple(
        Removed(g.name, g.layers, g.size - left[g.name], g.size)
        for g in channels.groups
        if g.prunable and g.size > left.get(g.name, g.size)
    )


def _notes(channels: Channels, spec: PruneSpec, dataset: Dataset | None) -> list[str]:
    notes = []
    if channels.inexact:
        names = ", ".join(channels.inexact)
        notes.append(f"normalisation over channels sees fewer of them now: {names}")
    if dataset is None and spec.repair:
        notes.append("without data nothing was repaired or recovered")
    return notes


def prune_structure(
    model: Any,
    dataset: Dataset | None,
    spec: PruneSpec,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
    instruments: Instruments | None = None,
) -> PruneResult:
    """Remove channels or whole layers, whichever the spec names; see `prune_channels`."""
    if spec.structure == "layers":
        from edgepress.compress.structure.dropping import prune_layers

        return prune_layers(model, dataset, spec, seed=seed, state_dir=state_dir, progress=progress)
    return prune_channels(
        model,
        dataset,
        spec,
        seed=seed,
        state_dir=state_dir,
        progress=progress,
        instruments=instruments,
    )
