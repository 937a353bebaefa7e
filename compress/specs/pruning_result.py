"""What pruning gives back, whatever was pruned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgepress.compress.kernel.figures import OutputMetric, compared


@dataclass(frozen=True)
class Uncounted:
    """A layer whose multiply-accumulates aren't all counted, and why."""

    layer: str
    reason: str

    def line(self) -> str:
        """It as one sentence."""
        return f"the MACs of '{self.layer}' are not all counted: {self.reason}"


class _WhenAsked:
    """A dataclass field of an int that may be given as a function, called when it is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, figures: Any, owner: type | None = None) -> int:
        if figures is None:
            raise AttributeError(self.name)  # so that the dataclass sees a field without a default
        value = figures.__dict__[self.name]
        if callable(value):
            value = figures.__dict__[self.name] = value()
        return int(value)

    def __set__(self, figures: Any, value: int | Callable[[], int]) -> None:
        figures.__dict__[self.name] = value


@dataclass(frozen=True)
class ModelFigures:
    """A model in numbers.

    Attributes:
        params: Weights, trainable or not.
        macs: Multiply-accumulates of one inference at batch 1.
        bytes: Size of the model as a `.keras` file without optimizer state, as an int. Measured
            when it is first read, since saving a network takes as long as pruning it.
        metric: The task's metric, or None without data.
        value: The metric on `split`, or None.
        split: The data split that `value` was measured on, or None.
        metrics: By output; `value` is their headline.
        uncounted: Layers whose MACs `macs` leaves out, and why.
    """

    params: int
    macs: int
    bytes: _WhenAsked = _WhenAsked()
    metric: str | None = None
    value: float | None = None
    split: str | None = None
    metrics: tuple[OutputMetric, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: the number of bytes, not the model that has them."""
        return {**vars(self), "bytes": self.bytes}


@dataclass(frozen=True)
class Removed:
    """What was taken from one group: `removed` of `of` units (channels, or weights set to zero).

    Attributes:
        group: Its name.
        layers: Their paths.
        removed: Units that went.
        of: Units that there were.
        multiple: Of channels, what the width that is left is a multiple of: what was asked for, or
            where a narrow group or the target didn't allow it the largest divisor of that; else
            None.
    """

    group: str
    layers: tuple[str, ...]
    removed: int
    of: int
    multiple: int | None = None


@dataclass(frozen=True)
class Pinned:
    """A layer whose channels or weights stay, and why.

    Attributes:
        layer: Its path.
        reason: Why.
        channels: How many channels stay; None where weights do.
    """

    layer: str
    reason: str
    channels: int | None = None


@dataclass(frozen=True)
class Measured:
    """A quantity that a file or a device shows, before and after, beside what was expected.

    Attributes:
        what: "size" (of the float32 TFLite file), "arena" (of its activations) or "latency".
        unit: "bytes" or "ms".
        before: Measured on the model that was given.
        after: Measured on the pruned one.
        predicted: What the plan expected of the pruned one.
        limit: The target, or None where another quantity was aimed at.
        device: Where latency was measured.
        plain_predicted: Expected with widths that are only rounded, not set on measured steps.
        plain_macs: MACs that would stay so.
    """

    what: str
    unit: str
    before: float
    after: float
    predicted: float
    limit: float | None = None
    device: str | None = None
    plain_predicted: float | None = None
    plain_macs: int | None = None

    def line(self) -> str:
        """The account as one sentence."""
        digits = 3 if self.unit == "ms" else 0
        shown = {
            name: f"{value:,.{digits}f}"
            for name, value in vars(self).items()
            if isinstance(value, float | int)
        }
        where = f" on {self.device}" if self.device else ""
        text = (
            f"{self.what}{where}: {shown['before']} to {shown['after']} {self.unit}"
            f" ({self.after / self.before:.2f}), predicted {shown['predicted']}"
        )
        if self.limit is not None:
            text += f", target {shown['limit']}"
        if self.plain_predicted is not None:
            text += (
                f"; plainly rounded widths: predicted {shown['plain_predicted']} {self.unit}"
                f" with {self.plain_macs:,} MACs"
            )
        return text


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
        measured: What files and devices show, where the target or a device asked for it.
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
    measured: tuple[Measured, ...] = ()

    @property
    def metrics(self) -> tuple[OutputMetric, ...]:
        """After and before by output."""
        return compared(self.after.metrics, self.before.metrics)

    @property
    def uncounted(self) -> tuple[Uncounted, ...]:
        """Layers of `model` whose MACs the figures leave out, and why."""
        return self.after.uncounted

    def to_json(self) -> dict[str, Any]:
        """All but the model, by name."""
        shallow = dataclasses.replace(self, model=None)
        fields = dataclasses.asdict(shallow)
        del fields["model"]
        for side in ("before", "after"):
            del fields[side]["metrics"]
        return {
            **fields,
            "metrics": [vars(row) for row in self.metrics],
            "uncounted": fields["after"]["uncounted"],
            "seconds": sum(self.seconds.values()),
            "seconds_by_phase": self.seconds,
        }
