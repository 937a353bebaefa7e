"""Structured pruning, start to end: plan, remove, repair, recover, and the account of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.specs.pruning_result import (
    Pinned,
    PruneResult,
    Removed,
)
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.measured_targets import (
    Instruments,
    measured_target,
)
from edgepress.compress.structure.planning.resolving import DURING_TRAINING, resolved
from edgepress.compress.structure.structured_run import StructuredRun, rounds_of
from edgepress.compress.structure.tracing.groups import Channels, find_channels


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
    pinned = tuple(Pinned(g.layers[0], g.reason, g.channels) for g in channels.groups if g.reason)
    removed = _removed(channels, small)
    run.notes.extend(_notes(channels, spec, dataset))
    if not removed and spec.sparsity is None and measured_target(spec) is None:
        run.notes.append(
            f"nothing was removed: with {before.macs:,} MACs and {before.params:,} parameters the"
            " model is within the target already"
        )
    return run.result(small, before, removed, pinned)


def _whole(model: Any, spec: PruneSpec, instruments: Instruments | None) -> float:
    """What the model measures in the quantity that the steps go down; 0 with one step."""
    name = measured_target(spec)
    if name is None or instruments is None or spec.steps == 1:
        return 0.0
    return float(getattr(instruments, name)(model))


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
        from edgepress.compress.structure.layers.layer_removal import prune_layers

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
