"""What a training did, epoch by epoch, and which epoch was best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepress.compress.kernel.figures import OutputMetric


@dataclass(frozen=True)
class History:
    """The account of one training.

    Attributes:
        metric: The task's metric by name.
        split: The split that `before` and `after` were measured on: test, else validation.
        before: The metric before the training.
        after: The metric of the weights that were kept.
        epochs: By name ("loss", "val_loss", the metric, "lr", …) one value for each epoch.
        seconds: Wall time of the training, that of earlier, interrupted runs included.
        stopped_early: Whether it ended before the last epoch.
        best_epoch: Number of the epoch whose weights were kept, from 1; 0 without training.
        lr: Learning rate that the schedule started from.
        diverged: Where the loss became NaN or infinite and what to do about it; else empty.
        notes: Remarks for the user, one line each.
        metrics: After and before by output.
        at_chance: What to say where validation stayed at chance while training improved; else
            empty.
        collapsed: From which epoch on validation fell to chance for good, and what to say of it;
            else None.
    """

    metric: str
    split: str
    before: float
    after: float
    epochs: dict[str, list[float]]
    seconds: float
    stopped_early: bool = False
    best_epoch: int = 0
    lr: float = 0.0
    diverged: str = ""
    notes: tuple[str, ...] = field(default=())
    metrics: tuple[OutputMetric, ...] = ()
    at_chance: str = ""
    collapsed: tuple[int, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it, by name."""
        return {
            **vars(self),
            "epochs": dict(self.epochs),
            "notes": list(self.notes),
            "metrics": [vars(row) for row in self.metrics],
        }


@dataclass(frozen=True)
class Judge:
    """Says which epoch is best: by the metric, the lower loss deciding between equals.

    Attributes:
        metric: Name of the metric's column, or of a loss's.
        higher_is_better: Its direction.
        loss: Name of the loss's column, which `plateau` follows too.
    """

    metric: str
    higher_is_better: bool
    loss: str

    def best(self, epochs: Mapping[str, Sequence[float]], settled: Sequence[bool]) -> int | None:
        """Index of the best epoch, the first of equals.

        Args:
            epochs: Columns by name, one value for each epoch.
            settled: For each epoch, whether the model had its final form by then; only those
                count.

        Returns:
            The index from 0, or None while no epoch counts.
        """
        sign = 1.0 if self.higher_is_better else -1.0

        def merit(value: float) -> float:
            # What is undefined is better than nothing.
            return sign * value if value == value else -math.inf

        candidates = [i for i, final in enumerate(settled) if final]
        return max(
            candidates,
            key=lambda i: (merit(epochs[self.metric][i]), -epochs[self.loss][i], -i),
            default=None,
        )

    def exhausted(
        self, epochs: Mapping[str, Sequence[float]], settled: Sequence[bool], patience: int | None
    ) -> bool:
        """Whether the last `patience` epochs brought nothing better; never where it is None."""
        best = self.best(epochs, settled)
        return patience is not None and best is not None and len(settled) - 1 - best >= patience
