"""One structured pruning: its rounds, the training around them, and the account of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from edgepress.compress.data import Dataset, evaluate
from edgepress.compress.models.fingerprints import weights_hash
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.pruning_run import PruningRun, model_figures, uncounted_notes
from edgepress.compress.specs.pruning import ChannelsSpec, UnitsSpec
from edgepress.compress.specs.pruning_result import (
    Measured,
    ModelFigures,
    Pinned,
    PruneResult,
    Removed,
)
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.structure.budgets.measured_targets import (
    budget_for,
    latency_limit,
    measured_target,
)
from edgepress.compress.structure.planning.plan import choose
from edgepress.compress.structure.repair.recovery_start import RecoveryStart
from edgepress.compress.structure.repair.repair import repair
from edgepress.compress.structure.surgery.optimizer_slots import (
    carry_optimizer,
    compile_like,
    copy_optimizer,
)
from edgepress.compress.structure.surgery.surgery import Surgery, remove
from edgepress.compress.structure.tracing.groups import Alive, Channels, find_channels
from edgepress.compress.structure.tracing.replay import affordable
from edgepress.compress.training.loop.preserved_sparsity import held_weights, holding_notes
from edgepress.compress.weights.clusters.shared_values import share_values, shared_values
from edgepress.compress.weights.masks.kernel_sparsity import kernel_sparsity
from edgepress.compress.weights.masks.prunable import find_kernels

if TYPE_CHECKING:
    import keras


@dataclass(eq=False)
class StructuredRun(PruningRun):
    """A pruning that removes things for real.

    Attributes:
        optimizer: Built for the model as it is now, with the state that training goes on from;
            None until there is one.
        measured: What they showed in the last round.
        surgery: Of the last round, where it cut the model that was given.
    """

    spec: UnitsSpec
    _: KW_ONLY
    optimizer: Any = None
    measured: tuple[Measured, ...] = ()
    surgery: Surgery | None = None

    def round(
        self, model: keras.Model, spec: ChannelsSpec, name: str, channels: Channels | None = None
    ) -> keras.Model:
        """Remove, repair and recover once; gives the new model.

        Args:
            model: What is pruned.
            spec: How.
            name: Of the training.
            channels: The model's, where they are known already.
        """
        with self.timed("prune"):
            channels = channels or find_channels(model, spec.protect)
            alive = self.choose(channels, spec)
            surgery = remove(channels, alive)
        return self.finish(surgery, spec, name)

    def choose(self, channels: Channels, spec: ChannelsSpec) -> Alive:
        """The units that stay; what was measured for it goes into the account."""
        budget = budget_for(channels, spec, self.context.instruments)
        context = self.context
        alive = choose(channels, spec, self.dataset, budget, context.seed, context.shared)
        if budget.metering is not None:
            now = budget.metering.accounts
            first = {m.what: m.before for m in self.measured or now}
            self.measured = tuple(replace(m, before=first[m.what]) for m in now)
            self.notes += budget.metering.notes
        return alive

    def shrink(self, model: keras.Model, spec: ChannelsSpec) -> keras.Model:
        """Train while what will go shrinks, then remove, repair and recover; the new model."""
        from edgepress.compress.structure.shrinking import (
            ShrinkChannels,
            doomed_weights,
            growth_for,
        )

        assert self.dataset is not None
        before, after = epochs_of(spec)
        # What shrinks would draw the others of its cluster along.
        update = {
            "epochs": before,
            "restore_best": False,
            "release_clusters": True,
            "early_stopping": None,
        }
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
        shared = {} if spec.recover.release_clusters else shared_values(kernels)
        self.train(shrunk, training, "shrink", (callback,))
        with self.timed("prune"):
            share_values(kernels, shared, self.context.seed)
            surgery = remove(channels, alive)
        self._say_what_the_cut_did(shrunk, surgery.model, callback.left)
        return self.finish(surgery, spec.model_copy(update={"recover_epochs": after}), "recover")

    def finish(self, surgery: Surgery, spec: UnitsSpec, name: str) -> keras.Model:
        """Repair and recover what surgery left, where that is asked for."""
        # A later cut would keep the model before it in memory.
        self.surgery = surgery if surgery.channels.model is self.source else None
        self.optimizer = carry_optimizer(surgery, self.optimizer)
        if self.dataset is None:
            return surgery.model
        if spec.repair and not surgery.is_whole:
            start = self._start(surgery, spec, name)
            if not start.restore(surgery.model):
                self._repair(surgery, spec, self.dataset)
                start.keep(surgery.model)
        if spec.recover.epochs:
            self.train(surgery.model, spec.recovery(), name)
        return surgery.model

    def _start(self, surgery: Surgery, spec: UnitsSpec, name: str) -> RecoveryStart:
        """Where the weights are kept that a recovery starts from."""
        assert self.dataset is not None
        folder = self.context.state_dir
        if folder is None or not spec.recover.epochs:
            return RecoveryStart(None)
        return RecoveryStart(
            folder / name,
            spec.model_dump(mode="json"),
            surgery.alive.tolist(),
            weights_hash(surgery.model),
            self.dataset.fingerprint,
            self.context.seed,
        )

    def _repair(self, surgery: Surgery, spec: UnitsSpec, dataset: Dataset) -> None:
        with self.timed("repair"):
            count = affordable(surgery.channels.model, spec.calibration_samples)
            samples = dataset.calibration(count, self.context.seed)
            unseen = dataset.judging(count, self.context.seed)
            held = held_weights(surgery.model.weights, spec.recover)
            repair(surgery, samples, self.context.seed, held, unseen)

    def train(
        self,
        model: keras.Model,
        training: TrainSpec,
        name: str,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        """Train a model in place, from the optimizer's state and on to its next."""
        from edgepress.compress.training.optimization.optimizer_state import carries
        from edgepress.compress.training.optimization.optimizers import OPTIMIZERS

        assert self.dataset is not None
        fresh = OPTIMIZERS[training.optimizer](training)
        if not carries(self.optimizer, fresh):
            fresh.build(model.trainable_variables)
            self.optimizer = fresh
        self.fit(
            model, training, name, callbacks, optimizer=self.optimizer, remarks=name != "shrink"
        )

    def figures(self, model: keras.Model) -> ModelFigures:
        """A model in numbers."""
        with self.timed("measure"):
            return model_figures(model, self.dataset)

    def result(
        self,
        model: keras.Model,
        before: ModelFigures,
        removed: tuple[Removed, ...],
        pinned: tuple[Pinned, ...],
    ) -> PruneResult:
        """The account of everything; compiles the model where the source is compiled."""
        after = self.figures(model)
        self.notes += uncounted_notes(after.uncounted, self.spec.target_macs is not None)
        if self.dataset is not None and (self.spec.repair or self.spec.recover.epochs):
            held = held_weights(model.weights, self.spec.recover)
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

    def _say_what_the_cut_did(self, shrunk: keras.Model, cut: keras.Model, left: float) -> None:
        assert self.dataset is not None
        split, task = self.dataset.report_split, self.dataset.task
        with self.timed("measure"):
            values = [evaluate(model, split, task) for model in (shrunk, cut)]
        self.notes.append(
            f"under the penalty the weights that go fell to {left:.2%} of their size; removing them"
            f" took {task.metric} ({split.name}) from {values[0]:.4f} to {values[1]:.4f}, before"
            " repair and recovery"
        )


def epochs_of(spec: ChannelsSpec) -> tuple[int, int]:
    """Epochs under the penalty, and after the removal; together what was asked for."""
    before = spec.penalty_epochs or max(1, spec.recover.epochs // 2)
    return before, spec.recover.epochs - before


U = TypeVar("U", bound=UnitsSpec)


def rounds_of(spec: U, macs: int, params: int, measured: float = 0.0) -> list[U]:
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
        if number > 1 and isinstance(spec, ChannelsSpec):
            # What was asked of these layers has gone in the first round.
            update["per_layer"] = dict.fromkeys(spec.per_layer, 0.0)
        if spec.target_macs is not None:
            update["target_macs"] = _between(spec.target_macs, macs, share)
        elif spec.target_params is not None:
            update["target_params"] = _between(spec.target_params, params, share)
        elif isinstance(spec, ChannelsSpec) and name == "latency" and spec.steps > 1:
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


def _epochs(spec: UnitsSpec, number: int) -> int:
    """Epochs of recovery after one of the steps; all of them together are what was asked for."""
    early = spec.recover.epochs // 2 // max(spec.steps - 1, 1)
    return early if number < spec.steps else spec.recover.epochs - early * (spec.steps - 1)


def _between(target: float, full: float, share: float, least: float = 2.0) -> float:
    """A number on the way from all to the target; 1 stays a share, so it is kept above 1."""
    kept = target if target <= 1 else target / full
    return max(least, full * kept**share)
