"""What pruning gives back, whatever was pruned."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelFigures:
    """A model in numbers.

    Attributes:
        params: Weights, trainable or not.
        macs: Multiply-accumulates of one inference at batch 1.
        bytes: Size of the model as a `.keras` file without optimizer state.
        metric: The task's metric, or None without data.
        value: The metric on `split`, or None.
        split: The data split that `value` was measured on, or None.
    """

    params: int
    macs: int
    bytes: int
    metric: str | None = None
    value: float | None = None
    split: str | None = None


@dataclass(frozen=True)
class Removed:
    """What was taken from one group: `removed` of `of` units (channels, or weights set to zero)."""

    group: str
    layers: tuple[str, ...]
    removed: int
    of: int


@dataclass(frozen=True)
class Pinned:
    """A layer whose channels or weights stay, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class PruneResult:
    """A pruned model and the account of it.

    Attributes:
        model: The pruned Keras model, plain: no wrappers, masks or callbacks.
        structure: "weights", "blocks", "nm", "channels" or "layers".
        criterion: Importance criterion by name.
        before: Figures of the model that was given.
        after: Figures of `model`.
        sparsity: Share of zeros among all weights of kernels of `model`, counted.
        removed: What was removed, by group.
        pinned: What could not be pruned.
        seconds: Wall time by phase ("prune", "recover", …).
        history: Training history by epoch, empty without training.
        notes: Remarks for the user, one line each.
    """

    model: Any
    structure: str
    criterion: str
    before: ModelFigures
    after: ModelFigures
    sparsity: float
    removed: tuple[Removed, ...]
    pinned: tuple[Pinned, ...]
    seconds: dict[str, float]
    history: dict[str, list[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All but the model, by name."""
        shallow = dataclasses.replace(self, model=None)
        fields = dataclasses.asdict(shallow)
        del fields["model"]
        return {**fields, "seconds": sum(self.seconds.values()), "seconds_by_phase": self.seconds}
