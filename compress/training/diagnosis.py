"""What a training's curves say, and what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Finding = Literal[
    "diverging", "validation at chance", "collapsed", "oscillating", "too slow", "overfitting"
]

_RISE = 0.1
_SWING = 0.5
_CRAWL = 0.02


@dataclass(frozen=True)
class Diagnosis:
    """One finding.

    Attributes:
        finding: What it is.
        epoch: The epoch from which it shows, from 1.
        advice: What to change, one line with the figures behind it.
    """

    finding: Finding
    epoch: int
    advice: str


def diagnose(
    columns: Mapping[str, Sequence[float]],
    diverged: str = "",
    at_chance: str = "",
    collapsed: tuple[int, str] | None = None,
) -> tuple[Diagnosis, ...]:
    """Read the curves of a training.

    Args:
        columns: A history's `epochs`: "loss", "lr" and, where there is one, "val_loss".
        diverged: The history's `diverged`.
        at_chance: The history's `at_chance`.
        collapsed: The history's `collapsed`.

    Returns:
        The findings, the gravest first; empty where nothing is wrong, or with fewer than three
        epochs, which say nothing.
    """
    loss = list(columns.get("loss", []))
    if diverged:
        return (Diagnosis("diverging", len(loss) + 1, diverged),)
    stuck = (Diagnosis("validation at chance", 1, at_chance),) if at_chance else ()
    if collapsed:
        return (*stuck, Diagnosis("collapsed", *collapsed))
    if len(loss) < 3:
        return stuck
    rate = columns["lr"][0]
    found = [
        _diverging(loss, rate),
        _oscillating(loss, rate),
        _overfitting(loss, columns.get("val_loss", [])),
        _too_slow(loss, columns.get("val_loss", []), rate),
    ]
    return (*stuck, *(f for f in found if f is not None))


def _diverging(loss: Sequence[float], rate: float) -> Diagnosis | None:
    """The loss ends clearly above its start."""
    if loss[-1] <= loss[0] * (1 + _RISE):
        return None
    epoch = int(np.argmin(loss)) + 2
    return Diagnosis(
        "diverging",
        epoch,
        f"the loss rises from epoch {epoch} on, from {min(loss):.3g} to {loss[-1]:.3g}: use a"
        f" tenth of the learning rate, {rate / 10:.2g}, or a warm-up",
    )


def _oscillating(loss: Sequence[float], rate: float) -> Diagnosis | None:
    """Rises and falls alternate, and the rises undo much of the falls."""
    steps = np.diff(loss)
    falls, rises = -steps[steps < 0].sum(), steps[steps > 0].sum()
    turns = int((np.sign(steps[1:]) != np.sign(steps[:-1])).sum())
    if len(steps) < 4 or turns < len(steps) / 2 or rises < _SWING * falls:
        return None
    epoch = int(np.flatnonzero(steps > 0)[0]) + 2
    return Diagnosis(
        "oscillating",
        epoch,
        f"the loss goes up and down from epoch {epoch} on ({turns} turns in {len(loss)} epochs):"
        f" use a third of the learning rate, {rate / 3:.2g}, a larger batch, or the schedule"
        " cosine",
    )


def _overfitting(loss: Sequence[float], validation: Sequence[float]) -> Diagnosis | None:
    """The validation loss has risen for good while the training loss fell."""
    if len(validation) < 3:
        return None
    best = int(np.argmin(validation))
    rest = validation[best + 1 :]
    if len(rest) < 2 or rest[-1] <= validation[best] * (1 + _RISE) or loss[-1] >= loss[best]:
        return None
    return Diagnosis(
        "overfitting",
        best + 2,
        f"from epoch {best + 2} on the validation loss rises ({validation[best]:.3g} to"
        f" {rest[-1]:.3g}) while the training loss falls: unfreeze fewer layers, add augmentation"
        f" or weight decay, or stop early (early_stopping 3); epoch {best + 1} was the best",
    )


def _too_slow(loss: Sequence[float], validation: Sequence[float], rate: float) -> Diagnosis | None:
    """The loss falls little but steadily to the end."""
    falling = np.diff(loss)
    if loss[0] <= 0 or (falling >= 0).mean() > 0.2:
        return None
    if validation and int(np.argmin(validation)) < len(validation) - 2:
        return None
    share = (loss[0] - loss[-1]) / loss[0] / len(falling)
    if share > _CRAWL:
        return None
    return Diagnosis(
        "too slow",
        1,
        f"the loss falls by only {share:.1%} an epoch and is still falling: use three times the"
        f" learning rate, {rate * 3:.2g}, or look for one with lr-find",
    )
