"""A target in packed bytes: prune as far as it takes until the file that is written packs so small.

Zeros and repeated values leave a file as long as it was; its gzip or zstd shrinks. Models pruned
at once, without training, are written and measured until the mildest setting is found that holds;
then the pruning that was asked for runs with it, and what it leaves is measured again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.context import Context, Instruments
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.specs.amounts import limit_of
from edgepress.compress.specs.pruning import ClustersSpec, NMSpec, PackedSpec, ZerosSpec
from edgepress.compress.specs.pruning_result import Measured, PruneResult
from edgepress.compress.weights.allocation.planning import apply_masks, plan_masks
from edgepress.compress.weights.clusters.shared_values import (
    cluster_weights,
    share_values,
    shared_values,
)
from edgepress.compress.weights.masks.masks import n_of_m_for

if TYPE_CHECKING:
    import keras

P = TypeVar("P", bound=PackedSpec)
# How far below the target a size may end where the settings lie close enough together.
_TOLERANCE = 0.01
# Training changes the values that stay, and so how they pack: a little is left for that.
_MARGIN = 0.005
# How often a pruning that missed its target is done again, further.
_TRIES = 4
_SPARSITIES, _PATTERN, _MOST_CLUSTERS = 1000, 16, 256


@dataclass(frozen=True)
class Ladder:
    """The settings of one structure, from the mildest to the harshest.

    Attributes:
        rungs: How many there are; the first is number 1.
        setting: Gives what a rung changes in a spec.
        label: Gives a rung's setting in words.
    """

    rungs: int
    setting: Callable[[int], dict[str, Any]]
    label: Callable[[int], str]

    def spec(self, spec: P, rung: int) -> P:
        """The step with a rung's setting in the place of its target."""
        return spec.model_copy(update={"target_size": None, **self.setting(rung)})


@dataclass(eq=False)
class _Search:
    """The sizes of models pruned at once, each measured when it is first asked for."""

    model: Any
    spec: PackedSpec
    ladder: Ladder
    scales: Instruments
    seed: int
    progress: Progress
    sizes: dict[int, float] = field(default_factory=dict)

    def weigh(self, model: keras.Model) -> float:
        """Packed bytes of a model's file."""
        return self.scales.packed_size(model, self.spec.packing)

    def size(self, rung: int) -> float:
        """Packed bytes with a rung's setting, without training; with 0 those of the model."""
        if rung not in self.sizes:
            self.progress.step(len(self.sizes), len(self.sizes) + 1, "write and measure")
            pruned = _pruned_at_once(self.model, self.spec, self.ladder, rung, self.seed)
            self.sizes[rung] = self.weigh(pruned)
        return self.sizes[rung]

    def find(self, aim: float, limit: float) -> int:
        """The mildest rung within an aim, one less than 1 % below it, or the harshest.

        Raises:
            InputError: Even the harshest is over the limit.
        """
        low, high = 0, self.ladder.rungs
        if self.size(high) > limit:
            raise InputError(
                f"target_size {limit:,.0f} {self.spec.packing} bytes can't be reached: the lowest"
                f" is {self.size(high):,.0f}, with {self.ladder.label(high)}",
                "ask for more, or prune channels",
            )
        if self.size(high) > aim:
            return high
        halved = True
        while high - low > 1 and self.size(high) < (1 - _TOLERANCE) * aim:
            # Between the two along a line; in the middle when the line did not halve the distance.
            fall, distance = self.size(low) - self.size(high), high - low
            share = (self.size(low) - aim) / fall if halved else 0.5
            middle = min(max(low + ceil(share * distance), low + 1), high - 1)
            low, high = (low, middle) if self.size(middle) <= aim else (middle, high)
            halved = 2 * (high - low) <= distance + 1
        return high


def prune_to_size(
    model: keras.Model,
    spec: PackedSpec,
    prune: Callable[[PackedSpec, int], PruneResult],
    context: Context,
) -> PruneResult:
    """Prune until the model's float32 TFLite file packs into a number of bytes.

    Args:
        model: A built Keras model; it stays as it is.
        spec: A step with `target_size`.
        prune: Runs a step with a setting of its own; its second argument counts the tries.
        context: What travels with them; its instruments write and weigh files.

    Returns:
        What `prune` gave, with the account of the size.

    Raises:
        InputError: Nothing here can measure, or the target is reached already or can't be.
    """
    scales, progress = context.instruments, context.progress
    if scales is None or spec.target_size is None:
        raise InputError(
            "target_size is measured on files, which compress.prune doesn't write",
            "use edgepress.deploy.prune, the command prune or a recipe",
        )
    progress.stage("measure the file")
    ladder = ladder_of(spec)
    search = _Search(model, spec, ladder, scales, context.seed, progress)
    search.sizes[0] = full = search.weigh(model)
    limit = limit_of(spec.target_size, full)
    if limit >= full:
        raise InputError(
            f"target_size {limit:,.0f} asks for no pruning: the model's file has {full:,.0f}"
            f" {spec.packing} bytes"
        )
    aim = limit * (1 - _MARGIN if spec.recover.epochs else 1)
    rung = search.find(aim, limit)
    for number in range(_TRIES):
        result = prune(ladder.spec(spec, rung), number)
        after = search.weigh(result.model)
        if after <= limit:
            account = Measured(
                "size", f"{spec.packing} bytes", full, after, search.size(rung), limit
            )
            note = f"{ladder.label(rung)} meets the target of {limit:,.0f} {spec.packing} bytes"
            return replace(result, measured=(account,), notes=(note, *result.notes))
        aim = limit * (1 - _MARGIN) * search.size(rung) / after
        rung = min(max(rung + 1, search.find(aim, limit)), ladder.rungs)
    raise InputError(
        f"after {_TRIES} prunings the file still had {after:,.0f} {spec.packing} bytes, and"
        f" {limit:,.0f} are asked for",
        "ask for more",
    )


def ladder_of(spec: PackedSpec) -> Ladder:
    """The settings that a structure can take."""
    if isinstance(spec, ClustersSpec):
        return Ladder(
            _MOST_CLUSTERS - 1,
            lambda rung: {"clusters": _MOST_CLUSTERS + 1 - rung},
            lambda rung: f"{_MOST_CLUSTERS + 1 - rung} clusters",
        )
    if isinstance(spec, NMSpec):
        return Ladder(
            _PATTERN - 1,
            lambda rung: {"pattern": n_of_m_for(rung / _PATTERN)},
            lambda rung: f"pattern {n_of_m_for(rung / _PATTERN)}",
        )
    return Ladder(
        _SPARSITIES - 1,
        lambda rung: {"sparsity": rung / _SPARSITIES},
        lambda rung: f"sparsity {rung / _SPARSITIES:g}",
    )


def _pruned_at_once(
    model: keras.Model, spec: PackedSpec, ladder: Ladder, rung: int, seed: int
) -> keras.Model:
    """A copy with a rung's zeros or clusters, by magnitude and without training."""
    setting = ladder.spec(spec, rung)
    if isinstance(setting, ClustersSpec):
        return cluster_weights(model, setting.clusters, protect=spec.protect, seed=seed)[0]
    assert isinstance(setting, ZerosSpec)
    if setting.allocation == "sensitivity":
        setting = setting.model_copy(update={"allocation": "global"})
    copy = copy_model(model)
    plan = plan_masks(copy, setting)
    shared = {} if spec.recover.release_clusters else shared_values(plan.kernels)
    apply_masks(plan.kernels, plan.masks(plan.final))
    share_values(plan.kernels, shared, seed)
    return copy
