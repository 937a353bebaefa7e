"""The training loop: epochs of steps, judged, checkpointed, resumable to the bit.

Everything an epoch depends on is either drawn from (seed, epoch) or in the checkpoint: weights,
optimizer, seed generators, callbacks. Schedule, plateau and early stopping are functions of the
columns so far. So a training that was killed anywhere goes on from its last whole epoch to the
very weights of one that never stopped.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.loop.checkpoints import (
    Checkpoints,
    Snapshot,
    assign,
    numbered,
    values,
)
from edgepress.compress.training.loop.distribution import Replicas, distributed_optimizer
from edgepress.compress.training.loop.eta import Clock
from edgepress.compress.training.loop.history import Judge
from edgepress.compress.training.loop.logs import logs_of
from edgepress.compress.training.loop.steps import (
    Objective,
    Validation,
    draws_statefully,
    training_step,
)
from edgepress.compress.training.loop.user_callbacks import Hooks, Pace
from edgepress.compress.training.loop.weight_updates import Factors, Updates
from edgepress.compress.training.numerics.moving_statistics import (
    LookBack,
    is_prompt,
    prompt_statistics,
)
from edgepress.compress.training.optimization.optimizer_state import carries, copy_slots
from edgepress.compress.training.optimization.optimizers import OPTIMIZERS
from edgepress.compress.training.optimization.schedules import rate_at, schedule_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Columns = dict[str, list[float]]


class Diverged(Exception):
    """A loss is NaN or infinite."""


@dataclass(frozen=True)
class Conditions:
    """What a training is given beside its model, data and objective.

    Attributes:
        seed: Draws order, augmentation and dropout.
        checkpoints: Where the state goes after each epoch.
        callbacks: Keras callbacks; one with `state` and `restore` is resumed, and one whose
            attribute `settled` is false keeps epochs from being the best.
        progress: Is told of every step.
        factors: What the rate of single weights is multiplied by.
        optimizer: A built optimizer whose state the training starts from and which gets the state
            that it ends with, where it is of the class that the spec names; or None.
        prompt: Whether moving statistics keep up with the training; see `prompt_statistics`.
    """

    seed: int
    checkpoints: Checkpoints
    callbacks: Sequence[keras.callbacks.Callback]
    progress: Progress
    factors: Factors | None = None
    optimizer: keras.Optimizer | None = None
    prompt: bool = False


class Loop:
    """One training of one model, in place.

    Args:
        model: What is trainable of it is trained.
        dataset: Has a training split, and a validation split that choices are made by.
        objective: What is minimised.
        spec: How.
        conditions: See there.
        replicas: Devices that share each batch, and hold the model; None trains on one.

    Attributes:
        columns: Figures by name, one value for each whole epoch.
        settled: For each whole epoch, whether it may be the best.
        seconds: Wall time so far.
        rate: Learning rate that the schedule starts from.
        diverged: What to say where the loss became NaN; empty otherwise.
    """

    def __init__(
        self,
        model: keras.Model,
        dataset: Dataset,
        objective: Objective,
        spec: TrainSpec,
        conditions: Conditions,
        replicas: Replicas | None = None,
    ) -> None:
        self.columns: Columns = {}
        self.settled: list[bool] = []
        self.seconds = 0.0
        self.diverged = ""
        self.rate = spec.lr
        self._model = model
        self._split = dataset.training_split
        self._spec = spec
        self._seed = conditions.seed
        self._checkpoints = conditions.checkpoints
        self._callbacks = list(conditions.callbacks)
        schedule = schedule_of(spec)
        self._replicas = replicas
        self._optimizer = self._make_optimizer()
        given = conditions.optimizer
        self._given = given if carries(given, self._optimizer) else None
        self._metrics = [] if replicas else dataset.task.training_metrics()
        self._steps = self._split.steps(spec.batch_size)
        self._pace = Pace(
            self._optimizer,
            lambda done, losses: rate_at(schedule, done, self._steps, spec, losses),
            spec,
            self._callbacks,
        )
        self._clock = Clock(conditions.progress, spec.epochs, self._steps)
        self._validation = None
        if dataset.val is not None:
            self._validation = Validation(model, dataset.val, objective, spec.batch_size)
        self.judge = _judge(dataset, bool(self._metrics) and len(dataset.task.outputs) == 1)
        self._logs = logs_of(spec)
        directions = {"loss": False, dataset.task.metric: dataset.task.higher_is_better}
        self._hooks = Hooks(
            self._callbacks, model, self._optimizer, directions, spec.epochs, self._steps
        )
        self._updates, self._step = self._compile(objective, conditions.factors or {})
        self._prompt = conditions.prompt or is_prompt(model)
        self._look_back = LookBack()
        self._draws = True
        self._best: list[Any] = []
        self._good: list[Any] = values(model.variables)
        self._good_averages = self._updates.state()

    def _make_optimizer(self) -> keras.Optimizer:
        def make() -> keras.Optimizer:
            return OPTIMIZERS[self._spec.optimizer](self._spec)

        return distributed_optimizer(make, self._replicas) if self._replicas else make()

    def _compile(
        self, objective: Objective, factors: Factors
    ) -> tuple[Updates, Callable[..., tf.Tensor]]:
        with self._replicas.scope() if self._replicas else nullcontext():
            self._optimizer.build(self._model.trainable_variables)
            updates = Updates(self._model, self._optimizer, self._spec, factors)
        if self._given is not None:
            copy_slots(self._given, self._optimizer, self._model)
        signature = self._split.epoch(self._spec.batch_size, self._seed, 0).element_spec
        if self._replicas is not None:
            return updates, self._replicas.step(objective, updates.apply, signature)
        step = training_step(self._model, objective, updates.apply, self._metrics, signature)
        return updates, step

    def run(self) -> None:
        """Train all epochs that are left, and give the model the weights to keep."""
        import keras

        keras.utils.set_random_seed(self._seed)
        seed_generators(self._model, self._seed)
        prompt = prompt_statistics(self._model, self._steps, self._look_back)
        with prompt if self._prompt else nullcontext():
            self._draws = draws_statefully(self._step)  # traces the step
        self._model.stop_training = False
        self._pace.move(0, [])
        with self._hooks:
            self._run(self._hooks.calls)
        if self._given is not None:
            copy_slots(self._optimizer, self._given, self._model)

    def _run(self, hooks: keras.callbacks.CallbackList) -> None:
        self._hooks.begin()
        self._resume()
        try:
            for epoch in range(len(self.settled), self._spec.epochs):
                if self._ended():
                    break
                self._epoch(epoch, hooks)
        except Diverged as reason:
            self.diverged = str(reason)
            assign(self._model.variables, self._good)
            self._updates.restore(self._good_averages)
        hooks.on_train_end()
        self._updates.keep_averages()
        if self._spec.restore_best and self._best:
            assign(self._model.weights, self._best)

    def _ended(self) -> bool:
        patience = self._spec.early_stopping
        stopped = bool(self._model.stop_training)
        return stopped or self.judge.exhausted(self.columns, self.settled, patience)

    def _epoch(self, epoch: int, hooks: keras.callbacks.CallbackList) -> None:
        began = time.monotonic()
        self._draw(epoch)
        for _, metric in self._metrics:
            metric.reset_state()
        hooks.on_epoch_begin(epoch)
        row = self._train(epoch, hooks)
        with self._updates.averaged():
            row |= self._validate(epoch, hooks)
        hooks.on_epoch_end(epoch, dict(row))
        self.seconds += time.monotonic() - began
        self._keep({**row, "seconds": time.monotonic() - began})

    def _draw(self, epoch: int) -> None:
        """Start what draws at random outside the model's own generators, for one epoch."""
        seed = (self._seed * 100_003 + epoch) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        if self._draws:
            import tensorflow as tf

            # Throws away all prepared functions, which costs a short epoch half of its time.
            tf.random.set_seed(seed)

    def _train(self, epoch: int, hooks: keras.callbacks.CallbackList) -> dict[str, float]:
        """One pass over the training split; the figures of its training columns."""
        batches = self._split.epoch(self._spec.batch_size, self._seed, epoch)
        losses = self.columns.get(self.judge.loss, [])
        total, done = 0.0, 0
        for number, batch in enumerate(batches):
            before = epoch * self._steps + number
            self._pace.move(before, losses)
            self._look_back.move(before)
            if self._callbacks:
                hooks.on_train_batch_begin(number)
            loss = float(self._step(*batch))
            if not math.isfinite(loss):
                rate = self._pace.current()
                raise Diverged(_divergence(loss, epoch, number, rate, self._spec))
            total, done = total + loss, number + 1
            if self._callbacks:
                hooks.on_train_batch_end(number, {"loss": loss})
            self._clock.tick(epoch, done, {"loss": total / done})
            if self._model.stop_training:
                break
        row = {"loss": total / max(1, done), "lr": self._pace.current()}
        return row | {metric.name: float(metric.result()) for _, metric in self._metrics}

    def _validate(self, epoch: int, hooks: keras.callbacks.CallbackList) -> dict[str, float]:
        if self._validation is None:
            return {}
        hooks.on_test_begin()
        found = self._validation()
        loss = found["val_loss"]
        hooks.on_test_end({"loss": loss})
        if not math.isfinite(loss):
            raise Diverged(_divergence(loss, epoch, None, 0.0, self._spec))
        return found

    def _keep(self, row: dict[str, float]) -> None:
        """Record a whole epoch: columns, best weights, checkpoint."""
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)
        self.settled.append(all(getattr(c, "settled", True) for c in self._callbacks))
        self._good = values(self._model.variables)
        self._good_averages = self._updates.state()
        if self.judge.best(self.columns, self.settled) == len(self.settled) - 1:
            with self._updates.averaged():
                self._best = values(self._model.weights)
        self._checkpoints.write(self._snapshot())
        for log in self._logs:
            log.write(self.columns)

    def _snapshot(self) -> Snapshot:
        arrays = numbered("model", self._good) | numbered("best", self._best)
        arrays |= numbered("optimizer", values(self._optimizer.variables))
        arrays |= numbered("average", self._good_averages)
        held, counted = self._hooks.state()
        arrays |= held
        facts = {
            "callbacks": counted,
            "planned": self._pace.planned,
            "columns": self.columns,
            "settled": self.settled,
            "seconds": self.seconds,
            "stop": bool(self._model.stop_training),
        }
        return Snapshot(arrays, _copied(facts))

    def _resume(self) -> None:
        snapshot = self._checkpoints.read()
        if snapshot is None:
            return
        self.columns = snapshot.facts["columns"]
        self.settled = snapshot.facts["settled"]
        self.seconds = snapshot.facts["seconds"]
        self._model.stop_training = snapshot.facts["stop"]
        self._good = snapshot.in_order("model")
        self._best = snapshot.in_order("best")
        assign(self._model.variables, self._good)
        assign(self._optimizer.variables, snapshot.in_order("optimizer"))
        self._good_averages = snapshot.in_order("average")
        self._updates.restore(self._good_averages)
        self._pace.planned = snapshot.facts.get("planned", math.nan)
        self._hooks.restore(snapshot)


def _copied(facts: dict[str, Any]) -> dict[str, Any]:
    """Lists copied, for they grow while another thread writes them."""
    columns = {name: list(column) for name, column in facts["columns"].items()}
    return {**facts, "columns": columns, "settled": list(facts["settled"])}


def _judge(dataset: Dataset, has_metric: bool) -> Judge:
    """By the validation split's metric; without one, by the training's metric or loss."""
    metric, higher = dataset.task.metric, dataset.task.higher_is_better
    if dataset.val is not None:
        return Judge(f"val_{metric}", higher, "val_loss")
    return Judge(metric, higher, "loss") if has_metric else Judge("loss", False, "loss")


def seed_generators(model: keras.Model, seed: int) -> None:
    """Start the model's dropout and noise from the seed; Keras draws a new start on every load."""
    weights: Iterable[int] = {id(v) for v in model.weights}
    generators = [v for v in model.variables if id(v) not in weights]
    for i, state in enumerate(generators):
        if state.name.endswith("seed_generator_state"):
            state.assign([(seed * 7919 + i) % 2**31, 0])


def _divergence(loss: float, epoch: int, step: int | None, rate: float, spec: TrainSpec) -> str:
    where = f"epoch {epoch + 1}" + ("" if step is None else f", step {step + 1}")
    at = f" at the learning rate {rate:.3g}" if rate else ""
    clip = "" if spec.clipnorm or spec.clipvalue else ", bound the gradient with clipnorm 1"
    return (
        f"the loss became {'NaN' if math.isnan(loss) else 'infinite'} in {where}{at}: use a"
        f" learning rate of {spec.lr / 10:.3g} or lower, a warm-up of an epoch{clip}, and check"
        " that the inputs are scaled as the model expects"
    )


def refuse_diverged(loop: Loop) -> None:
    """Raise where a training diverged before it finished one epoch: there is nothing to keep.

    Raises:
        InputError: With the advice.
    """
    if loop.diverged and not loop.settled:
        what, _, advice = loop.diverged.partition(": ")
        raise InputError(what, advice)
