"""The learning-rate range test: raise the rate step by step and watch the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, open_data
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.models import load
from edgepress.compress.models.own_training import refuse_own_step
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.notation import AUTO_RATE
from edgepress.compress.specs.recipe import FinetuneSpec, TrainSpec
from edgepress.compress.specs.signatures import takes_options
from edgepress.compress.specs.training import NOT_OF_RANGE_TEST
from edgepress.compress.training.curves import save_figure
from edgepress.compress.training.freezing.select import unfreeze
from edgepress.compress.training.loop.checkpoints import assign, values
from edgepress.compress.training.loop.class_weights import class_weights, positive_weights
from edgepress.compress.training.loop.loop import seed_generators
from edgepress.compress.training.loop.own_loss import own_loss
from edgepress.compress.training.loop.steps import Objective, training_step
from edgepress.compress.training.numerics.determinism import deterministic_operations
from edgepress.compress.training.numerics.fused_norm import fused_batch_norm
from edgepress.compress.training.optimization.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    import keras

    from edgepress.compress.typing import DataLike, ModelLike

Array = NDArray[np.float64]

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100

# A fall of the loss by this share is none, a rise by that one is one.
_NO_FALL, _RISE = 0.1, 0.2
# Nor is one by fewer standard errors.
_CLEAR = 4.0

# The loss has diverged at this multiple of its smoothed minimum.
_DIVERGED = 4.0


@dataclass(frozen=True)
class LrRange:
    """What a range test found.

    Attributes:
        rates: Learning rate of each step.
        losses: Loss of each step's batch.
        smoothed: The same without the batches' noise.
        suggestion: The rate to train with: where the smoothed loss falls steepest, at most a third
            of `minimum`; where it doesn't fall, a tenth of the rate from which it rises.
        steepest: Where the smoothed loss falls steepest.
        minimum: Where the smoothed loss is lowest.
        diverged: Whether the test ended because the loss had grown, and so covers the whole range
            of useful rates.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float
    steepest: float
    minimum: float
    diverged: bool

    def to_json(self) -> dict[str, Any]:
        """All of it, by name."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}


@takes_options(FinetuneSpec, skip=NOT_OF_RANGE_TEST)
def lr_find(
    model: ModelLike,
    data: DataLike | None,
    *,
    spec: FinetuneSpec | None = None,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> LrRange:
    """Find a learning rate by a range test on a copy of a model; the given one stays as it is.

    Args:
        model: A Keras model, or what `load` takes.
        data: What `open_data` takes.
        lowest: First rate, above 0.
        highest: Last rate; the test ends before it when the loss diverges.
        steps: Steps from the one to the other.
        seed: Makes the test repeatable.
        progress: Is told of every step.
        spec: The options as a `FinetuneSpec`; those that are given by name change it.
        **options: Fields of `FinetuneSpec` that the training will have.

    Returns:
        The curve and the suggestion.

    Raises:
        InputError: The range, an option or the data can't be used.

    Source: Smith, "Cyclical learning rates for training neural networks" (WACV 2017); exponential
        growth and smoothing after Gugger and Howard (fastai).
    """
    spec = make_spec(FinetuneSpec, options, base=spec)
    _check(lowest, highest, steps)
    original = load(model)
    refuse_own_step(original)
    dataset = open_data(data, original, seed)
    tried = copy_model(original)
    unfreeze(tried, spec.unfreeze, spec.train_batchnorm)
    weights = class_weights(spec.class_weights, tried, dataset)
    positive = positive_weights(spec.positive_weights, tried, dataset)
    objective = Objective(dataset.task, spec, weights=weights, positive=positive)
    with own_loss(tried, dataset.task) as own:
        objective = replace(objective, own_loss=own)
        return measure_range(tried, dataset, objective, lowest, highest, steps, seed, progress)


def with_found_rate(
    model: keras.Model,
    dataset: Dataset,
    objective: Objective,
    seed: int,
    progress: Progress | None = None,
) -> TrainSpec:
    """The objective's spec, a rate that is "auto" replaced by the suggestion of a range test."""
    spec = objective.spec
    if spec.lr != AUTO_RATE:
        return spec
    # The test changes the weights at every step, so that averaged steps are one larger batch.
    size = spec.batch_size * spec.accumulate
    tried = spec.model_copy(update={"accumulate": 1, "batch_size": size})
    found = measure_range(
        model, dataset, replace(objective, spec=tried), seed=seed, progress=progress
    )
    return spec.model_copy(update={"lr": found.suggestion})


def _check(lowest: float, highest: float, steps: int) -> None:
    if not 0 < lowest < highest:
        raise InputError(f"the range of rates {lowest:g} to {highest:g} is empty or not positive")
    if steps < 10:
        raise InputError(f"{steps} steps are too few for a range test", "take 10 or more")


def measure_range(
    model: keras.Model,
    dataset: Dataset,
    objective: Objective,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
) -> LrRange:
    """Run the test on a model that the caller owns; its variables are restored to the bit."""
    before = values(model.variables)
    seed_generators(model, seed)
    rates = np.geomspace(lowest, highest, steps)
    try:
        with deterministic_operations(), fused_batch_norm(model):
            losses = _losses(model, dataset, objective, rates, seed, progress or Silent())
    finally:
        assign(model.variables, before)
    return _judged(rates[: len(losses)], np.asarray(losses), len(losses) < steps)


def _losses(
    model: keras.Model,
    dataset: Dataset,
    objective: Objective,
    rates: Array,
    seed: int,
    progress: Progress,
) -> list[float]:
    """Losses of a training whose rate rises, until the end or until they diverge."""
    import keras

    split, spec = dataset.training_split, objective.spec
    optimizer = OPTIMIZERS[spec.optimizer](spec)
    optimizer.build(model.trainable_variables)
    epoch = split.epoch(spec.batch_size, seed, 0)
    step = training_step(model, objective, optimizer.apply, [], epoch.element_spec)
    keras.utils.set_random_seed(seed)
    progress.stage("learning-rate range test")
    losses: list[float] = []
    for number in range(math.ceil(len(rates) / split.steps(spec.batch_size))):
        for batch in split.epoch(spec.batch_size, seed, number):
            optimizer.learning_rate.assign(rates[len(losses)])
            losses.append(float(step(*batch)))
            progress.step(len(losses), len(rates), f"rate {rates[len(losses) - 1]:.2g}")
            if len(losses) == len(rates) or _has_diverged(losses):
                return losses
    return losses


def _has_diverged(losses: Sequence[float]) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    smoothed = smooth(np.asarray(losses), len(losses) / 20)
    recent = float(np.mean(losses[-3:]))
    return len(losses) > 5 and recent > _DIVERGED * float(smoothed.min()) + 1e-12


def smooth(losses: Array, width: float) -> Array:
    """Averages weighted by a bell of a given width, which unlike running ones don't lag behind.

    Args:
        losses: (n,) finite losses.
        width: Standard deviation of the bell in steps, above 0.

    Returns:
        (n,) averages, between the smallest and the largest loss.
    """
    steps = np.arange(len(losses))
    bell = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / max(width, 1e-3)) ** 2)
    return np.asarray(bell @ losses / bell.sum(1))


def _judged(rates: Array, losses: Array, diverged: bool) -> LrRange:
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(rates) < 3:
        raise InputError(
            f"the loss is not finite at the rate {rates[-1] if len(rates) else 0:.2g} already",
            "begin the range lower, and check the data",
        )
    smoothed = smooth(losses, len(losses) / 20)
    lowest = int(smoothed.argmin())
    slopes = np.gradient(smoothed, np.log(rates))
    # Behind the minimum the loss only falls again by accident; the first steps are all noise.
    first = min(len(rates) // 10, lowest)
    steepest = float(rates[first + int(slopes[first : lowest + 1].argmin())])
    minimum = float(rates[lowest])
    return LrRange(
        rates=tuple(rates.tolist()),
        losses=tuple(losses.tolist()),
        smoothed=tuple(smoothed.tolist()),
        suggestion=_suggestion(rates, losses, smoothed, min(steepest, minimum / 3)),
        steepest=steepest,
        minimum=minimum,
        diverged=diverged,
    )


def _suggestion(rates: Array, losses: Array, smoothed: Array, falling: float) -> float:
    """The rate for a curve that falls; where it doesn't, a tenth of the rate from which it rises.

    A model that knows its data already shows no descent, only noise, in which to look for the
    steepest is idle.
    """
    start = float(smoothed[: max(1, len(smoothed) // 10)].mean())
    # The bell averages over about as many batches as it is wide, times 3.5.
    early = slice(0, max(3, len(losses) // 3))
    noise = float((losses - smoothed)[early].std()) / math.sqrt(3.5 * max(1, len(losses) / 20))
    if start - float(smoothed.min()) > max(_NO_FALL * abs(start), _CLEAR * noise):
        return falling
    risen = np.flatnonzero(smoothed > start * (1 + _RISE))
    return float(rates[risen[0] if len(risen) else -1]) / 10


def draw_range(found: LrRange, path: Path | str) -> Path:
    """Draw loss against rate with the suggestion marked.

    Args:
        found: The test.
        path: A `.png`, `.svg` or `.pdf` file; replaced where it exists.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="0.8", label="loss")
    axes.plot(found.rates, found.smoothed, label="smoothed")
    axes.axvline(found.suggestion, color="C1", label=f"suggestion {found.suggestion:.2g}")
    axes.axvline(found.minimum, color="C2", linestyle=":", label=f"minimum {found.minimum:.2g}")
    low, high = min(found.smoothed), found.smoothed[0]
    margin = max(high - low, 0.1 * abs(high), 1e-9)
    axes.set_ylim(low - 0.2 * margin, high + margin)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    return save_figure(figure, Path(path))
