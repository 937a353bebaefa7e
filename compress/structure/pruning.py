"""Structured pruning, start to end: plan, remove, repair, recover, and the account of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepress.compress.accounting import model_figures
from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.progress import Progress, Silent
from edgepress.compress.recipe import PruneSpec
from edgepress.compress.results import ModelFigures, Pinned, PruneResult, Removed
from edgepress.compress.structure.budget import Budget
from edgepress.compress.structure.groups import Channels, find_channels
from edgepress.compress.structure.plan import choose
from edgepress.compress.structure.repair import repair
from edgepress.compress.structure.replay import affordable
from edgepress.compress.structure.surgery import remove
from edgepress.compress.weights.counting import kernel_sparsity

# What "auto" stands for: with data, and without.
AUTO = ("taylor", "l1")


@dataclass(frozen=True)
class StructuredRun:
    """One pruning; the source stays as it is."""

    source: Any
    dataset: Dataset | None
    spec: PruneSpec
    seed: int
    state_dir: Path | None
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Say that a phase begins, and add its wall time."""
        self.progress.stage(phase)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begin

    def round(self, model: Any, spec: PruneSpec, name: str) -> Any:
        """Remove, repair and recover once; gives the new model."""
        with self.timed("prune"):
            channels = find_channels(model, spec.protect)
            budget = Budget(channels)
            alive = choose(channels, spec, self.dataset, budget, self.seed)
            surgery = remove(channels, alive)
        if self.dataset is not None and spec.repair:
            with self.timed("repair"):
                count = affordable(model, spec.calibration_samples)
                samples = self.dataset.calibration(count, self.seed)
                repair(surgery, samples, self.seed)
        return self.finish(surgery.model, spec, name)

    def finish(self, model: Any, spec: PruneSpec, name: str) -> Any:
        """Recover a model in place, where that is asked for."""
        if self.dataset is not None and spec.recover_epochs:
            self._recover(model, spec, name)
        return model

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
        notes: Sequence[str] = (),
    ) -> PruneResult:
        """The account of everything."""
        after = self.figures(model)
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
            notes=tuple(notes),
        )

    def _recover(self, model: Any, spec: PruneSpec, name: str) -> None:
        from edgepress.compress.finetune.train import fit

        assert self.dataset is not None
        with self.timed("recover"):
            history = fit(
                model,
                self.dataset,
                spec.recovery(),
                seed=self.seed,
                state_dir=self.state_dir / name if self.state_dir else None,
                teacher=self.source if self.spec.distill else None,
                progress=self.progress,
            )
        for key, values in history.epochs.items():
            self.history.setdefault(key, []).extend(values)


def prune_channels(
    model: Any,
    dataset: Dataset | None,
    spec: PruneSpec,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
) -> PruneResult:
    """Remove channels (neurons, filters, heads, units) of a model for real.

    Args:
        model: A built Functional or Sequential model; it stays as it is.
        dataset: For criteria, repair, recovery and figures; without it none of them.
        spec: What is removed, and the training.
        seed: Makes the run repeatable.
        state_dir: Folder for the training's checkpoints.
        progress: Receives the progress.

    Returns:
        The smaller model, plain, and the account.

    Raises:
        InputError: The budget can't be reached, or an option is impossible.
    """
    spec = resolved(spec, dataset)
    run = StructuredRun(model, dataset, spec, seed, state_dir, progress or Silent())
    channels = find_channels(model, spec.protect)
    before = run.figures(model)
    small = model
    for number, part in enumerate(rounds_of(spec, before.macs, before.params), 1):
        small = run.round(small, part, "recover" if spec.steps == 1 else f"round-{number}")
    pinned = tuple(Pinned(g.layers[0], g.reason) for g in channels.groups if g.reason)
    notes, removed = _notes(channels, spec, dataset), _removed(channels, small)
    if not removed and spec.sparsity is None:
        notes.append(
            f"nothing was removed: with {before.macs:,} MACs and {before.params:,} parameters the"
            " model is within the target already"
        )
    return run.result(small, before, removed, pinned, notes)


def resolved(spec: PruneSpec, dataset: Dataset | None) -> PruneSpec:
    """The spec with "auto" filled in, checked against the data."""
    if spec.criterion == "auto":
        spec = spec.model_copy(update={"criterion": AUTO[dataset is None]})
    if dataset is None and spec.recover_epochs:
        raise InputError("recover_epochs needs data", "give data, or recover_epochs 0")
    if spec.schedule not in ("one-shot", "iterative"):
        raise InputError(
            f"schedule {spec.schedule} removes weights little by little; channels go at once",
            "give schedule one-shot, or iterative with steps",
        )
    if spec.schedule == "iterative" and spec.steps == 1:
        raise InputError("schedule iterative has one step only", "give steps, such as 3")
    return spec


def rounds_of(spec: PruneSpec, macs: int, params: int) -> list[PruneSpec]:
    """The steps of an iterative pruning: each keeps the same share of what the last one left.

    Half of the epochs go to the last step's recovery, the rest in equal parts to those before it.

    Args:
        spec: The whole step.
        macs: The model's MACs.
        params: The model's parameters.
    """
    parts = []
    for number in range(1, spec.steps + 1):
        share = number / spec.steps
        update: dict[str, float] = {"recover_epochs": _epochs(spec, number)}
        if spec.target_macs is not None:
            update["target_macs"] = _between(spec.target_macs, macs, share)
        elif spec.target_params is not None:
            update["target_params"] = _between(spec.target_params, params, share)
        else:
            kept = 1 - (spec.sparsity or 0.0)
            update["sparsity"] = 1 - kept ** (1 / spec.steps)
        parts.append(spec.model_copy(update=update))
    return parts


def _epochs(spec: PruneSpec, number: int) -> int:
    """Epochs of recovery after one of the steps; all of them together are what was asked for."""
    early = spec.recover_epochs // 2 // max(spec.steps - 1, 1)
    return early if number < spec.steps else spec.recover_epochs - early * (spec.steps - 1)


def _between(target: float, full: int, share: float) -> float:
    """A number on the way from all to the target; 1 stays a share, so it is kept above 1."""
    kept = target if target <= 1 else target / full
    return max(2.0, full * kept**share)


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
    if channels.trace.inexact:
        names = ", ".join(dict.fromkeys(channels.trace.inexact))
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
) -> PruneResult:
    """Remove channels or whole layers, whichever the spec names; see `prune_channels`."""
    if spec.structure == "layers":
        from edgepress.compress.structure.blocks import prune_layers

        how = prune_layers
    else:
        how = prune_channels
    return how(model, dataset, spec, seed=seed, state_dir=state_dir, progress=progress)
