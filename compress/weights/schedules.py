"""Sparsity schedules: pure functions of the training step.

The numbers are those of TensorFlow Model Optimization's own schedule objects, called on all steps
at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from edgepress.compress.kernel.registry import Table


@dataclass(frozen=True)
class Ramp:
    """When masks change, and between which sparsities.

    Attributes:
        final: Sparsity that is reached, 0 to 1.
        initial: Sparsity that a rising schedule begins with.
        begin: First step at which masks are made.
        end: Step at which `final` is reached, after `begin`.
        frequency: Steps between two changes.
        power: Exponent of the polynomial.
    """

    final: float
    initial: float = 0.0
    begin: int = 0
    end: int = 1
    frequency: int = 100
    power: float = 3.0


class Schedule(Protocol):
    """The sparsity during training."""

    def __call__(
        self, steps: Int[np.ndarray, " n"], ramp: Ramp
    ) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Give what holds at each step.

        Args:
            steps: (n,) training steps, from 0.
            ramp: The schedule's numbers.

        Returns:
            (n,) whether the masks are rebuilt before that step, and (n,) the sparsity.
        """


def constant(
    steps: Int[np.ndarray, " n"], ramp: Ramp
) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The final sparsity from `begin` on, masks rebuilt until `end` (TFMOT ConstantSparsity)."""
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity

    return _call(ConstantSparsity(ramp.final, ramp.begin, ramp.end, ramp.frequency), steps)


def polynomial(
    steps: Int[np.ndarray, " n"], ramp: Ramp
) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """A polynomial rise from `initial` to `final` (TFMOT PolynomialDecay).

    Source: Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878.
    """
    from tensorflow_model_optimization.sparsity.keras import PolynomialDecay

    schedule = PolynomialDecay(
        ramp.initial, ramp.final, ramp.begin, ramp.end, ramp.power, ramp.frequency
    )
    return _call(schedule, steps)


SCHEDULES: Table[Schedule] = Table(
    "sparsity schedule",
    {"constant": constant, "polynomial": polynomial},
    "edgepress.sparsity_schedules",
)


def turns(schedule: str, ramp: Ramp, total: int) -> Mapping[int, float]:
    """The steps before which masks change, with the sparsity; the last one is exactly `final`.

    TFMOT changes masks only at multiples of `frequency`, so that a ramp may end below its final
    sparsity. Here the step `end` (or the last of the training) is a turn in any case.

    Args:
        schedule: Name in `SCHEDULES`.
        ramp: The schedule's numbers; `begin` lies before `total`.
        total: Steps of the training.

    Returns:
        Sparsity by step, steps rising.
    """
    steps = np.arange(total)
    changes, sparsities = SCHEDULES[schedule](steps, ramp)
    last = min(ramp.end, total - 1)
    before = np.flatnonzero(changes & (steps < last))
    due = {int(s): min(float(sparsities[s]), ramp.final) for s in before}
    return {**due, last: ramp.final}


def rounds(final: float, count: int) -> tuple[float, ...]:
    """Sparsities of an iterative pruning: each round removes the same share of what is left.

    Args:
        final: Sparsity after the last round, 0 to 1.
        count: Number of rounds.

    Source: Frankle and Carbin, The Lottery Ticket Hypothesis, arXiv 1803.03635.
    """
    return (*(1 - (1 - final) ** (n / count) for n in range(1, count)), final)


def _call(
    schedule: object, steps: Int[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    import tensorflow as tf

    changes, sparsity = schedule(tf.constant(steps, tf.int64))  # type: ignore[operator]
    return changes.numpy(), np.broadcast_to(sparsity.numpy(), len(steps)).astype(np.float64)
