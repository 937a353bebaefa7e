"""A pruning as data: which units go. Small, diffable, without weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.cost import layer_costs, uncounted
from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.models.fingerprints import fingerprint
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.pruning_result import Measured, Removed, Uncounted
from edgepress.compress.structure.budgets.measured_targets import Budget, Instruments, budget_for
from edgepress.compress.structure.planning.measured_search import settle
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.surgery.surgery import Surgery, remove
from edgepress.compress.structure.tracing.groups import Alive, Channels, find_channels

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Cut:
    """What goes from one group.

    Attributes:
        group: Its name.
        layers: The layers that make its channels.
        removed: Positions in the group of the units that go, ascending.
        of: Units in the group.
        multiple: What the width that is left is a multiple of; see `Removed`.
    """

    group: str
    layers: tuple[str, ...]
    removed: tuple[int, ...]
    of: int
    multiple: int | None = None


@dataclass(frozen=True)
class PruningPlan:
    """What goes from a model.

    Attributes:
        fingerprint: Of the model that it was made for.
        criterion: By which the units were chosen.
        cuts: What goes, by group; groups that stay whole are left out.
        params: Parameters before and after.
        macs: Multiply-accumulates before and after.
        measured: What files and devices show, where the target or a device asked for it.
        uncounted: Layers whose MACs the plan can't see, and why.
    """

    fingerprint: str
    criterion: str
    cuts: tuple[Cut, ...]
    params: tuple[int, int]
    macs: tuple[int, int]
    measured: tuple[Measured, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PruningPlan:
        """The inverse of `to_json`."""
        cuts = tuple(
            Cut(c["group"], tuple(c["layers"]), tuple(c["removed"]), c["of"], c.get("multiple"))
            for c in value["cuts"]
        )
        params, macs = (tuple(value[name]) for name in ("params", "macs"))
        measured = tuple(Measured(**m) for m in value.get("measured", ()))
        left_out = tuple(Uncounted(**u) for u in value.get("uncounted", ()))
        known = value["fingerprint"], value["criterion"], cuts
        return cls(*known, params, macs, measured=measured, uncounted=left_out)

    def removals(self) -> tuple[Removed, ...]:
        """The cuts as they are reported."""
        return tuple(
            Removed(c.group, c.layers, len(c.removed), c.of, c.multiple) for c in self.cuts
        )


def make_plan(
    model: keras.Model,
    spec: ChannelsSpec,
    dataset: Dataset | None = None,
    seed: int = 0,
    instruments: Instruments | None = None,
) -> PruningPlan:
    """Choose what goes from a model, which stays as it is.

    Args:
        model: A built Functional or Sequential model.
        spec: Budget, criterion, allocation.
        dataset: For criteria that look at data.
        seed: Draws samples.
        instruments: Measures files and devices, for targets that need it.

    Returns:
        The plan.

    Raises:
        InputError: The budget can't be reached, or an option doesn't fit the model.
    """
    from edgepress.compress.structure.planning.resolving import resolved

    spec = resolved(spec, dataset)
    channels = find_channels(model, spec.protect)
    budget = budget_for(channels, spec, instruments)
    return plan_channels(channels, choose(channels, spec, dataset, budget, seed), spec, budget)


def choose(
    channels: Channels,
    spec: ChannelsSpec,
    dataset: Dataset | None,
    budget: Budget,
    seed: int,
    shared: Path | None = None,
) -> Alive:
    """The units that stay; `shared` is as for `score_groups`."""
    if not any(g.prunable and g.size > 1 for g in channels.groups):
        reasons = dict.fromkeys(g.reason for g in channels.groups if g.reason)
        raise InputError(
            f"model '{channels.model.name}' has no channels that can be removed:"
            f" {'; '.join(list(reasons)[:3]) or 'it has no layers that make channels'}",
            "see what stays and why with: edgepress inspect",
        )
    scores = score_groups(channels, spec, dataset, budget, seed, shared)
    return settle(channels, scores, spec, budget)


def plan_channels(
    channels: Channels, alive: Alive, spec: ChannelsSpec, budget: Budget
) -> PruningPlan:
    """A choice of units as a plan."""
    cuts = [
        Cut(
            g.name,
            g.layers,
            tuple(np.flatnonzero(~alive[g.units]).tolist()),
            g.size,
            spec.multiple_left(int(alive[g.units].sum())),
        )
        for g in channels.groups
        if not alive[g.units].all()
    ]
    everything = channels.all_alive()
    return PruningPlan(
        fingerprint(channels.model),
        spec.criterion,
        tuple(cuts),
        (budget.params(everything), budget.params(alive)),
        (budget.macs(everything), budget.macs(alive)),
        budget.metering.accounts if budget.metering is not None else (),
        uncounted(layer_costs(channels.model)),
    )


def apply_plan(model: keras.Model, plan: PruningPlan) -> keras.Model:
    """A model with what a plan names removed; the given one stays as it is.

    Args:
        model: The model that the plan was made for.
        plan: The plan.

    Returns:
        A new model, not compiled.

    Raises:
        InputError: The plan was made for another model.
    """
    return operate(model, plan).model


def operate(model: keras.Model, plan: PruningPlan) -> Surgery:
    """`apply_plan`, with the account of what became of what."""
    if fingerprint(model) != plan.fingerprint:
        raise InputError(
            f"the plan was made for a model other than '{model.name}', or for other weights",
            "make a new plan",
        )
    channels = find_channels(model)
    return remove(channels, alive_after(channels, plan))


def alive_after(channels: Channels, plan: PruningPlan) -> Alive:
    """The units that a plan leaves."""
    alive = channels.all_alive()
    groups = {g.name: g for g in channels.groups}
    for cut in plan.cuts:
        alive[groups[cut.group].units[list(cut.removed)]] = False
    return alive
