"""What is tried: how much is removed, how long it is trained, and the recipe that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edgepress.compress.specs.construction import make_spec
from edgepress.deploy.fitting.spec import FitRecipe
from edgepress.deploy.recipe import Recipe

# Shares of the MACs that are tried first, mildest first; others are tried between them.
SHARES = (0.8, 0.65, 0.5, 0.35, 0.25)
# Shares of the weights that are set to zero on top, where zeros make what is minimised smaller.
SPARSITIES = (0.5, 0.75)
# Epochs of recovery at each rung: three times those of the rung before, as in Hyperband.
RUNGS = (0, 2, 6, 18, 54)
# Shares nearer to each other than this are one plan: widths are whole numbers of channels.
_NEAREST = 0.04


@dataclass(frozen=True, order=True)
class Plan:
    """How much of the model is removed.

    Attributes:
        share: Of the multiply-accumulates that stay; 1 where no channel is removed.
        sparsity: Share of the remaining weights that are zero.
        qat: Whether the file is an int8 one, and what is trained is also trained for int8.
    """

    share: float = 1.0
    sparsity: float = 0.0
    qat: bool = False

    @property
    def removes(self) -> bool:
        """Whether anything is removed."""
        return self.share < 1 or self.sparsity > 0

    def epochs(self, rung: int) -> tuple[int, int]:
        """Epochs of recovery, and those of training for int8 after it.

        The recovery is that of the same plan without training for int8, which may be done already.
        """
        if not self.qat:
            return RUNGS[rung], 0
        if not self.removes:
            return 0, RUNGS[rung]
        return RUNGS[rung], min(RUNGS[rung], max(1, RUNGS[rung] // 3))

    def steps(self, rung: int) -> list[dict[str, Any]]:
        """The pruning steps of a recipe.

        Where channels and weights are both pruned, a third of the recovery goes to the first.
        """
        epochs, _ = self.epochs(rung)
        channels = {"structure": "channels", "target_macs": self.share}
        zeros = {"structure": "weights", "sparsity": self.sparsity}
        found = [
            *([channels] if self.share < 1 else []),
            *([zeros] if self.sparsity else []),
        ]
        parts = [epochs] if len(found) == 1 else [epochs // 3, epochs - epochs // 3]
        return [
            {**step, "recover": {"epochs": part}} for step, part in zip(found, parts, strict=False)
        ]

    def words(self) -> str:
        """The plan for people."""
        channels = f"{self.share:.0%} of the MACs" if self.share < 1 else "all channels"
        zeros = f", {self.sparsity:.0%} zeros" if self.sparsity else ""
        return channels + zeros + (", trained for int8" if self.qat else "")


def first_plans(zeros_pay: bool, qat: bool = False) -> list[Plan]:
    """The plans that are tried first.

    Args:
        zeros_pay: Whether zeros make smaller what is minimised.
        qat: Whether files are int8 ones that need training for int8.
    """
    sparsities = (0.0, *SPARSITIES) if zeros_pay else (0.0,)
    found = [Plan(share, s, qat) for s in sparsities for share in (1.0, *SHARES)]
    return [plan for plan in found if plan.removes]


def between(shares: Sequence[float], kept: float) -> float | None:
    """A share between one that keeps the floor and the next smaller one that was tried.

    Args:
        shares: That were tried.
        kept: The smallest of these that keeps the floor.

    Returns:
        Their middle; None where they are next to each other.
    """
    for above, below in pairwise(sorted({*shares, kept}, reverse=True)):
        if above == kept and above - below > 2 * _NEAREST:
            return round((above + below) / 2, 3)
    return None


def recipe_of(base: FitRecipe, plan: Plan, rung: int, quantize: Sequence[str]) -> Recipe:
    """The recipe of a trial.

    Files are held against the floor by who tries them, on validation data: the trial's own verdict
    would be one on test data.

    Args:
        base: Model, data, format, devices.
        plan: What is removed.
        rung: How long it is trained.
        quantize: Precisions that are exported, of plans that aren't for int8 anyway.
    """
    tree = {**base.model_dump(mode="json"), "prune": plan.steps(rung), "accept": {}}
    written = {
        "formats": [base.fit.format],
        "quantize": ["int8"] if plan.qat else list(quantize),
        "qat_epochs": plan.epochs(rung)[1],
    }
    tree["export"] = {**tree["export"], **written}
    return make_spec(Recipe, {name: tree[name] for name in Recipe.model_fields}, "fit: ")
