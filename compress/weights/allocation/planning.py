"""From a pruning step to masks: which kernels, in which units, how many zeros each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from edgepress.compress.errors import InputError
from edgepress.compress.specs.pruning import SECOND_ORDER, BlocksSpec, NMSpec, ZerosSpec
from edgepress.compress.specs.pruning_result import Pinned
from edgepress.compress.weights.allocation.criteria import (
    WEIGHT_CRITERIA,
    WeightCriterion,
)
from edgepress.compress.weights.allocation.densities import Kernel, allocate
from edgepress.compress.weights.masks.masks import (
    GRANULARITIES,
    Mask,
    Units,
    keep_highest,
    n_of_m_for,
    parse_n_of_m,
)
from edgepress.compress.weights.masks.prunable import (
    PrunableWeight,
    check_globs,
    find_kernels,
    matches,
    walk_layers,
)

if TYPE_CHECKING:
    import keras

Scores = Mapping[str, Float[np.ndarray, "s i o"]]


@dataclass(frozen=True)
class MaskPlan:
    """What is removed from the kernels of one model, at any point of a schedule.

    Attributes:
        kernels: The kernels that are pruned.
        pinned: What stays, with reasons.
        granularity: Name in `GRANULARITIES`.
        pattern: What the granularity is told ("1x4", "2:4"), else empty.
        allocation: Name in `ALLOCATIONS`.
        final: Share of the weights that is removed in the end.
        overrides: Final sparsity by kernel path, where it differs.
        criterion: Scores weights where none are given.
    """

    kernels: tuple[PrunableWeight, ...]
    pinned: tuple[Pinned, ...]
    granularity: str
    pattern: str
    allocation: str
    final: float
    overrides: Mapping[str, float]
    criterion: WeightCriterion

    @property
    def label(self) -> str:
        """The pattern in words: "weights", "blocks 1x4"."""
        return f"{self.granularity} {self.pattern}".strip()

    def units(self, kernel: PrunableWeight) -> Units:
        """The units of one kernel."""
        return GRANULARITIES[self.granularity](kernel.layout.shape(kernel.shape), self.pattern)

    def scores(self) -> Scores:
        """Scores of the weights as they are now, by kernel path."""
        return {k.path: self.criterion(k.planes()) for k in self.kernels}

    def zeros(self, sparsity: float, scores: Scores | None = None) -> dict[str, int]:
        """Weights to remove from each kernel at a sparsity on the way to the final one."""
        scores = scores or self.scores()
        facts = {k.path: self._facts(k, scores[k.path]) for k in self.kernels}
        share = sparsity / self.final
        overrides = {path: value * share for path, value in self.overrides.items()}
        return allocate(facts, sparsity, self.allocation, overrides)

    def masks(self, sparsity: float, scores: Scores | None = None) -> dict[str, Mask]:
        """Masks of exactly this sparsity, by kernel path.

        Args:
            sparsity: On the way to the final one.
            scores: Of each kernel's weights; from the weights as they are now by default.
        """
        scores = scores or self.scores()
        zeros = self.zeros(sparsity, scores)
        share = sparsity / self.final
        return {k.path: self.mask(k, scores[k.path], zeros[k.path], share) for k in self.kernels}

    def mask(
        self,
        kernel: PrunableWeight,
        scores: Float[np.ndarray, "s i o"],
        zeros: int,
        share: float = 1.0,
    ) -> Mask:
        """The mask of one kernel.

        Args:
            kernel: The kernel.
            scores: (S, I, O) importance of its weights.
            zeros: Weights to remove, where the pattern doesn't fix it.
            share: How far the schedule is, 0 to 1, where the pattern does.
        """
        units = self.units(kernel)
        if units.quota is not None:
            units = replace(units, quota=np.rint(units.quota * share).astype(np.int64))
        keep = keep_highest(units, scores, zeros)
        return Mask(kernel.path, kernel.layout.kernel(keep, kernel.shape), self.label)

    def _facts(self, kernel: PrunableWeight, scores: Float[np.ndarray, "s i o"]) -> Kernel:
        units = self.units(kernel)
        shape = kernel.layout.shape(kernel.shape)
        return Kernel(shape, units.sizes(), units.scores(scores))


def plan_masks(model: keras.Model, spec: ZerosSpec) -> MaskPlan:
    """Plan the masks of one pruning step.

    Args:
        model: A built Keras model; the plan holds its variables.
        spec: The step.

    Returns:
        The plan.

    Raises:
        InputError: Nothing can be pruned, or a glob matches no layer.
    """
    kernels, pinned = find_kernels(model, spec.protect, spec.depthwise)
    if not kernels:
        raise InputError(
            f"model '{model.name}' has no kernel that can be pruned",
            "see what stays and why with: edgepress inspect",
        )
    overrides = _overrides(model, kernels, spec.per_layer)
    stay = {path for path, value in overrides.items() if value == 0}
    pinned = (*pinned, *(Pinned(path, "per_layer asks for sparsity 0") for path in stay))
    pattern, final = pattern_of(spec)
    return MaskPlan(
        kernels=tuple(k for k in kernels if k.path not in stay),
        pinned=pinned,
        granularity=spec.structure,
        pattern=pattern,
        allocation=spec.allocation,
        final=final,
        overrides={path: value for path, value in overrides.items() if value},
        criterion=WEIGHT_CRITERIA["l1" if spec.criterion == SECOND_ORDER else spec.criterion],
    )


def pattern_of(spec: ZerosSpec) -> tuple[str, float]:
    """What the granularity is told, and the sparsity that is asked.

    Raises:
        InputError: An N:M pattern and a sparsity contradict each other.
    """
    if isinstance(spec, BlocksSpec):
        return spec.block, spec.sparsity or 0.0
    if not isinstance(spec, NMSpec):
        return "", spec.sparsity or 0.0
    pattern = spec.pattern or n_of_m_for(spec.sparsity or 0.0)
    kept, group = parse_n_of_m(pattern)
    final = 1 - kept / group
    if spec.sparsity and abs(spec.sparsity - final) > 1e-9:
        raise InputError(
            f"pattern {pattern} has the sparsity {final:g}, not {spec.sparsity:g}",
            "give one of the two",
        )
    return pattern, final


def with_sparsity(model: keras.Model, spec: ZerosSpec) -> ZerosSpec:
    """The step with its target as a sparsity of the kernels that share it.

    Args:
        model: A built Keras model.
        spec: A step with a sparsity, or a number (or share) of parameters that stay unequal zero.

    Returns:
        The step with a sparsity.

    Raises:
        InputError: The target can't be reached, or is reached already.
    """
    share = getattr(spec, "target_params", None)
    if share is None:
        return spec
    kernels, _ = find_kernels(model, spec.protect, spec.depthwise)
    overrides = _overrides(model, kernels, spec.per_layer)
    free = {k.path for k in kernels if k.path not in overrides}
    given = sum(round(overrides[k.path] * k.size) for k in kernels if k.path in overrides)
    everything, total = find_kernels(model, depthwise=True)[0], model.count_params()
    zeros = {k.path: k.size - int(np.count_nonzero(k.value())) for k in everything}
    given += sum(z for path, z in zeros.items() if path not in free and path not in overrides)
    target = round(share * total) if share <= 1 else round(share)
    room = sum(k.size for k in kernels if k.path in free)
    least = total - given - room
    if target <= least:
        raise InputError(
            f"target_params {target:,} can't be reached: {least:,} of {total:,} parameters are in"
            " no kernel that may become zero",
            "give more, or prune channels",
        )
    if target >= total - sum(zeros.values()):
        raise InputError(
            f"target_params {target:,} asks for no pruning: {total - sum(zeros.values()):,} of"
            f" {total:,} parameters aren't zero",
        )
    return spec.model_copy(
        update={"sparsity": (total - target - given) / room, "target_params": None}
    )


def apply_masks(kernels: tuple[PrunableWeight, ...], masks: Mapping[str, Mask]) -> None:
    """Set what the masks remove to zero (positive zero, which compresses best)."""
    for kernel in kernels:
        kernel.variable.assign(np.where(masks[kernel.path].array, kernel.value(), 0.0))


def current_masks(kernels: tuple[PrunableWeight, ...], pattern: str) -> dict[str, Mask]:
    """The masks that the zeros of the weights themselves make."""
    return {k.path: Mask(k.path, k.value() != 0, pattern) for k in kernels}


def _overrides(
    model: keras.Model, kernels: tuple[PrunableWeight, ...], per_layer: Mapping[str, float]
) -> dict[str, float]:
    """Sparsity by kernel path; the first glob that matches a layer counts."""
    check_globs("per_layer", list(per_layer), [path for path, _ in walk_layers(model)])
    for glob, value in per_layer.items():
        if not 0 <= value < 1:
            raise InputError(f"per_layer '{glob}': sparsity {value:g} is not between 0 and 1")
    found = {}
    for kernel in kernels:
        values = [v for glob, v in per_layer.items() if matches(kernel.layer_path, [glob])]
        if values:
            found[kernel.path] = values[0]
    return found
