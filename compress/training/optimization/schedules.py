"""Learning rate schedules as pure functions of the position in the training.

A position is a number of epochs, fractions included, counted from the end of the warm-up. What a
schedule reacts to (validation losses) is an argument, so no schedule has a state and a resumed
training needs none restored. Keras's schedules are functions of the step alone: they know no
losses, and an optimizer that has one takes no rate from a callback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import Table
from edgepress.compress.models.user_code import is_reference, resolve_reference
from edgepress.compress.specs.recipe import TrainSpec

# A smaller gain of the loss is none: the value of Keras's ReduceLROnPlateau.
_LEAST_GAIN = 1e-4
_ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25


class Schedule(Protocol):
    """Gives the learning rate at a position."""

    def __call__(self, position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
        """The learning rate, before the floor `min_lr` is applied.

        Args:
            position: Epochs since the end of the warm-up, 0 or more.
            spec: The training; its rate is `lr` and its length `epochs`, `warmup` included.
            losses: Validation loss of each whole epoch since the end of the warm-up.
        """


def _share(position: float, spec: TrainSpec) -> float:
    """Share of the epochs after the warm-up that has passed, 0 to 1."""
    return min(1.0, position / max(spec.epochs - spec.warmup, 1e-9))


def _floor(spec: TrainSpec) -> float:
    return min(spec.min_lr, spec.lr)


def constant(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`lr` throughout."""
    del position, losses
    return spec.lr


def step(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`lr * lr_factor ** floor(position / lr_every)`: a drop every `lr_every` epochs."""
    del losses
    return spec.lr * spec.lr_factor ** math.floor(position / spec.lr_every)


def exponential(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`lr * lr_factor ** (position / lr_every)`: the drops of `step`, spread evenly."""
    del losses
    return spec.lr * spec.lr_factor ** (position / spec.lr_every)


def _cosine_fall(high: float, low: float, share: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def cosine(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`min_lr + (lr - min_lr) * (1 + cos(pi * share)) / 2`: half a cosine from `lr` to `min_lr`.

    Source: Loshchilov and Hutter, "SGDR" (ICLR 2017), equation 5 with one period.
    """
    del losses
    return _cosine_fall(spec.lr, _floor(spec), _share(position, spec))


def cosine_restarts(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """Half a cosine from `lr` to `min_lr` every `lr_every` epochs, each period `lr_growth` longer.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR
    2017), equation 5; `lr_growth` is its T_mult.
    """
    del losses
    period = float(spec.lr_every)
    while position >= period:
        position -= period
        period *= spec.lr_growth
    return _cosine_fall(spec.lr, _floor(spec), position / period)


def polynomial(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`min_lr + (lr - min_lr) * (1 - share) ** lr_power`: a straight line where the power is 1.

    Source: Liu et al., "ParseNet" (2015), where it is called the poly policy.
    """
    del losses
    rest = 1 - _share(position, spec)
    return _floor(spec) + (spec.lr - _floor(spec)) * rest**spec.lr_power


def one_cycle(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """Half a cosine up from `lr / 25` to `lr` in the first 30 %, then one down to `min_lr`.

    Source: Smith and Topin, "Super-convergence" (2018); cosines instead of lines after fastai.
    """
    del losses
    share = _share(position, spec)
    if share < _ONE_CYCLE_RISE:
        return _cosine_fall(spec.lr * _ONE_CYCLE_START, spec.lr, share / _ONE_CYCLE_RISE)
    return _cosine_fall(spec.lr, _floor(spec), (share - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE))


def plateau(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`lr` times `lr_factor` for each `lr_patience` epochs in a row without a better loss.

    Source: the rule of Keras's ReduceLROnPlateau (mode min, min_delta 1e-4, no cooldown).
    """
    del position
    rate, best, waited = spec.lr, math.inf, 0
    for loss in losses:
        if loss < best - _LEAST_GAIN:
            best, waited = loss, 0
            continue
        waited += 1
        if waited >= spec.lr_patience:
            rate, waited = max(rate * spec.lr_factor, _floor(spec)), 0
    return rate


def piecewise(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
    """`lr`, and from each epoch of `lr_points` on the rate given there."""
    del losses
    reached = [rate for epoch, rate in sorted(spec.lr_points) if epoch <= position]
    return reached[-1] if reached else spec.lr


SCHEDULES: Table[Schedule] = Table(
    "schedule",
    {
        "constant": constant,
        "step": step,
        "exponential": exponential,
        "cosine": cosine,
        "cosine-restarts": cosine_restarts,
        "one-cycle": one_cycle,
        "plateau": plateau,
        "polynomial": polynomial,
        "piecewise": piecewise,
    },
    "edgepress.schedules",
)


def schedule_of(spec: TrainSpec) -> Schedule:
    """The schedule that a training names, checked against the training's other settings.

    Args:
        spec: `schedule` is a name in `SCHEDULES`, or `file.py:function` with the function
            `(epoch, lr) -> lr` that Keras's LearningRateScheduler takes.

    Raises:
        InputError: It is unknown, or doesn't go with `warmup` or `lr_points`.
    """
    if spec.warmup and spec.warmup >= max(spec.epochs, 1):
        raise InputError(
            f"warmup {spec.warmup:g} leaves nothing of {spec.epochs} epochs to train at full rate",
            "take a shorter warm-up or more epochs",
        )
    if (spec.schedule == "piecewise") != bool(spec.lr_points):
        raise InputError(
            "the schedule piecewise and lr_points go together",
            "write schedule piecewise and lr_points 5=1e-3,10=1e-4",
        )
    if spec.schedule not in SCHEDULES and is_reference(spec.schedule):
        return _by_function(spec.schedule)
    return SCHEDULES[spec.schedule]


def _by_function(reference: str) -> Schedule:
    """A user's function of (epoch, rate of the epoch before), called once for each epoch."""
    function: Callable[[int, float], object] = resolve_reference(reference)
    rates: list[float] = []

    def schedule(position: float, spec: TrainSpec, losses: Sequence[float]) -> float:
        del losses
        while len(rates) <= int(position):
            value = function(len(rates), rates[-1] if rates else spec.lr)
            rates.append(_checked_rate(value, reference, len(rates)))
        return rates[int(position)]

    return schedule


def _checked_rate(value: object, reference: str, epoch: int) -> float:
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise InputError(
            f"'{reference}' gives {value!r} for epoch {epoch}", "return a rate of 0 or more"
        )
    return rate


def rate_at(
    schedule: Schedule, done: int, steps: int, spec: TrainSpec, losses: Sequence[float]
) -> float:
    """The learning rate of one training step.

    During the warm-up it is `lr * (done + 1) / (warmup * steps)`, at most `lr`; afterwards the
    schedule's, at least `min_lr`.

    Args:
        schedule: From `schedule_of`.
        done: Steps done before this one, from the start of the training.
        steps: Steps in an epoch.
        spec: The training.
        losses: Validation loss of each whole epoch so far.

    Returns:
        The rate, 0 or more.

    Source: the linear warm-up of Goyal et al., "Accurate, large minibatch SGD" (2017), from 0.
    """
    warm = spec.warmup * steps
    if done < warm:
        return spec.lr * min(1.0, (done + 1) / warm)
    since = losses[math.ceil(spec.warmup) :]
    rate = schedule((done - warm) / steps, spec, since)
    return max(rate, _floor(spec))
