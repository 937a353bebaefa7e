"""Structured pruning, start to end: plan, remove, repair, recover, and the account of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.context import Context, Instruments, make_context
from edgepress.compress.specs.pruning import DURING_TRAINING, ChannelsSpec, LayersSpec
from edgepress.compress.specs.pruning_result import (
    Pinned,
    PruneResult,
    Removed,
)
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.measured_targets import measured_target
from edgepress.compress.structure.planning.resolving import resolved
from edgepress.compress.structure.structured_run import StructuredRun, rounds_of
from edgepress.compress.structure.surgery.surgery import Surgery
from edgepress.compress.structure.tracing.groups import Channels, find_channels

if TYPE_CHECKING:
    import keras


def prune_channels(
    model: keras.Model,
    dataset: Dataset | None,
    spec: ChannelsSpec,
    context: Context | None = None,
    **fields: Any,
) -> PruneResult:
    """Remove channels (neurons, filters, heads, units) of a model for real.

    Args:
        model: A built Functional or Sequential model; it stays as it is.
        dataset: For criteria, repair, recovery and figures; without it none of them.
        spec: What is removed, and the training.
        context: What travels with them.
        **fields: Those of a `Context`, where none is given.

    Returns:
        The smaller model, plain, and the account.

    Raises:
        InputError: The budget can't be reached, or an option is impossible.
    """
    spec = resolved(spec, dataset)
    context = make_context(context, fields)
    run = StructuredRun(model, dataset, spec, context)
    channels = find_channels(model)
    before = run.figures(model)
    small = model
    if spec.schedule in DURING_TRAINING:
        small = run.shrink(small, spec)
    else:
        whole = _whole(model, spec, context.instruments)
        for number, part in enumerate(rounds_of(spec, before.macs, before.params, whole), 1):
            known = channels if small is model and not spec.protect else None
            name = "recover" if spec.steps == 1 else f"round-{number}"
            small = run.round(small, part, name, known)
    pinned = tuple(Pinned(g.layers[0], g.reason, g.channels) for g in channels.groups if g.reason)
    removed = _removed(channels, small, spec, run.surgery)
    run.notes.extend(_notes(channels, spec, dataset))
    if not removed and spec.sparsity is None and measured_target(spec) is None:
        run.notes.append(
            f"nothing was removed: with {before.macs:,} MACs and {before.params:,} parameters the"
            " model is within the target already"
        )
    return run.result(small, before, removed, pinned)


def _whole(model: keras.Model, spec: ChannelsSpec, instruments: Instruments | None) -> float:
    """What the model measures in the quantity that the steps go down; 0 with one step."""
    name = measured_target(spec)
    if name is None or instruments is None or spec.steps == 1:
        return 0.0
    return float(getattr(instruments, name)(model))


def _removed(
    channels: Channels, small: keras.Model, spec: ChannelsSpec, last: Surgery | None
) -> tuple[Removed, ...]:
    """What went from each group: as the only cut had it, or counted in the model that is left."""
    if last is not None and last.channels is channels:
        left = {g.name: int(last.alive[g.units].sum()) for g in channels.groups}
    else:
        left = {g.name: g.size for g in find_channels(small).groups}
    return tuple(
        Removed(g.name, g.layers, g.size - left[g.name], g.size, spec.multiple_left(left[g.name]))
        for g in channels.groups
        if g.prunable and g.size > left.get(g.name, g.size)
    )


def _notes(channels: Channels, spec: ChannelsSpec, dataset: Dataset | None) -> list[str]:
    notes = []
    if channels.inexact:
        names = ", ".join(channels.inexact)
        notes.append(f"normalisation over channels sees fewer of them now: {names}")
    whole = [g.name for g in channels.groups if g.prunable and g.size <= (spec.round_to or 0)]
    if whole:
        notes.append(
            f"round_to {spec.round_to} leaves these groups whole, which are no wider:"
            f" {', '.join(whole)}"
        )
    if dataset is None and spec.repair:
        notes.append("without data nothing was repaired or recovered")
    return notes


def prune_structure(
    model: keras.Model,
    dataset: Dataset | None,
    spec: PruneSpec,
    context: Context | None = None,
    **fields: Any,
) -> PruneResult:
    """Remove channels or whole layers, whichever the spec names; see `prune_channels`."""
    if isinstance(spec, LayersSpec):
        from edgepress.compress.structure.layers.layer_removal import prune_layers

        return prune_layers(model, dataset, spec, context, **fields)
    assert isinstance(spec, ChannelsSpec)
    return prune_channels(model, dataset, spec, context, **fields)
