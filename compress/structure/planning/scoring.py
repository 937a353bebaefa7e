"""Scores of all groups by one criterion, comparable with each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.importance import CRITERIA, Criterion
from edgepress.compress.structure.importance.evidence import Evidence
from edgepress.compress.structure.planning.shared_scores import known_scores
from edgepress.compress.structure.tracing.groups import Channels, Group
from edgepress.compress.structure.tracing.replay import affordable

if TYPE_CHECKING:
    from edgepress.compress.structure.tracing.groups import Alive

Scores = dict[str, NDArray[np.float64]]


def evidence_for(
    channels: Channels, criterion: Criterion, spec: ChannelsSpec, dataset: Dataset | None, seed: int
) -> Evidence:
    """What a criterion needs, drawn from the data.

    Raises:
        InputError: It needs data, and there is none.
    """
    if criterion.needs and dataset is None:
        raise InputError(
            f"criterion {spec.criterion} looks at data, and none is given",
            "give data, or a criterion of weights: l1, l2, bn-scale, fpgm, lamp",
        )
    samples = targets = task = None
    if criterion.needs and dataset is not None:
        split = dataset.train or dataset.val or dataset.report_split
        count = affordable(channels.model, spec.calibration_samples)
        samples, targets = split.sample(count, seed)
        task = dataset.task
    return Evidence(channels, spec.group_reduction, seed, samples, targets, task)


def score_groups(
    channels: Channels,
    spec: ChannelsSpec,
    dataset: Dataset | None,
    budget: Budget,
    seed: int = 0,
    shared: Path | None = None,
) -> Scores:
    """Score every group that can be pruned.

    Args:
        channels: The model's units.
        spec: Names the criterion and how coupled layers combine.
        dataset: For criteria that look at data.
        budget: Says what a unit of each group costs.
        seed: Draws samples and random scores.
        shared: Folder of what several runs have in common, where scores on data are taken from and
            left; None measures them.

    Returns:
        For each group by name (units,) scores. Those of a criterion whose scores differ in scale
        between groups are divided by the group's mean; the others by what a unit costs, so that a
        ranking of all groups together buys the most savings for the least importance.

    Raises:
        InputError: The criterion is unknown, or needs data.
    """
    criterion = CRITERIA[spec.criterion]
    groups = [group for group in channels.groups if group.prunable]

    def measured() -> list[NDArray[np.float64]]:
        evidence = evidence_for(channels, criterion, spec, dataset, seed)
        return [np.asarray(criterion.score(group, evidence), np.float64) for group in groups]

    if shared is None or dataset is None or not criterion.needs:
        found = measured()
    else:
        found = known_scores(shared, channels, groups, spec, dataset, seed, measured)
    if not criterion.comparable:
        found = [values / max(float(values.mean()), 1e-30) for values in found]
    scores = {group.name: values for group, values in zip(groups, found, strict=True)}
    return _per_cost(channels, scores, spec, budget) if criterion.comparable else scores


def _per_cost(channels: Channels, scores: Scores, spec: ChannelsSpec, budget: Budget) -> Scores:
    """Divide by the share of the budget that one unit of a group takes."""
    if spec.sparsity is not None or spec.allocation != "global":
        return scores
    shares = unit_shares(channels, spec, budget)
    return {name: found / shares[name] for name, found in scores.items()}


def unit_shares(channels: Channels, spec: ChannelsSpec, budget: Budget) -> dict[str, float]:
    """For each group that can be pruned, the share of the budget that one unit of it takes."""
    gauge = None if budget.metering is None else budget.metering.target or budget.metering.latency
    if gauge is not None:
        count, share = gauge.count, 0.5
    else:
        count, share = (budget.params if spec.target_params is not None else budget.macs), 0.0
    full = count(channels.all_alive())
    return {
        group.name: _unit_share(channels, group, count, full, share)
        for group in channels.groups
        if group.prunable
    }


def _unit_share(
    channels: Channels, group: Group, count: Callable[[Alive], float], full: float, share: float
) -> float:
    """What a unit takes: the last one, or, where the cost goes in steps, the mean of a share."""
    alive = channels.all_alive()
    gone = max(1, int(group.size * share))
    alive[group.units[:gone]] = False
    return max((full - count(alive)) / gone / full, 1e-9 if share else 1e-12)
