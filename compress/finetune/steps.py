"""The compiled functions of a training: one step, and a pass over a validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepress.compress.data import Split, Task
from edgepress.compress.finetune.distill import distillation_loss
from edgepress.compress.recipe import TrainSpec


@dataclass(frozen=True)
class Objective:
    """What a training minimises.

    Attributes:
        task: Gives the loss of each output.
        spec: Weighs labels against the teacher.
        teacher: A model whose outputs are learned, or None.
    """

    task: Task
    spec: TrainSpec
    teacher: Any = None

    def task_loss(self, outputs: list[Any], targets: Any) -> Any:
        """The task's own loss, mean over samples, summed over outputs."""
        losses = self.task.keras_loss()
        losses = losses if isinstance(losses, list) else [losses]
        targets = self._target_list(targets)
        return sum(f(t, o) for f, t, o in zip(losses, targets, outputs, strict=True))

    def loss(self, inputs: Any, outputs: list[Any], targets: Any) -> Any:
        """The task's loss, or its mixture with the distance from the teacher."""
        if self.teacher is None:
            return self.task_loss(outputs, targets)
        taught = _flat(self.teacher(inputs, training=False))
        soft = distillation_loss(self.task, outputs, taught, self.spec.temperature)
        weight = self.spec.distill_weight
        hard = self.task_loss(outputs, targets) if weight < 1 else 0.0
        return weight * soft + (1 - weight) * hard

    def _target_list(self, targets: Any) -> list[Any]:
        if isinstance(targets, dict):
            return [targets[name] for name in self.task.output_names]
        return list(targets) if isinstance(targets, list | tuple) else [targets]


def _flat(outputs: Any) -> list[Any]:
    import keras

    return list(keras.tree.flatten(outputs))


def training_step(
    model: Any, objective: Objective, optimizer: Any, metrics: list[Any], signature: Any
) -> Any:
    """Compile one training step.

    Args:
        model: Trained in place, what is trainable of it.
        objective: What is minimised; the model's regularisation is added.
        optimizer: A Keras optimizer, built.
        metrics: Keras metrics of the training display.
        signature: (inputs, targets) specifications of the batches.

    Returns:
        A function of (inputs, targets) that changes the model and returns the loss.
    """
    import tensorflow as tf

    variables = model.trainable_variables

    @tf.function(input_signature=signature, autograph=False)
    def step(inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = _flat(model(inputs, training=True))
            loss = objective.loss(inputs, outputs, targets)
            if model.losses:
                loss += tf.add_n(model.losses)
        if variables:
            gradients = tape.gradient(loss, variables)
            optimizer.apply(gradients, variables)
        for metric in metrics:
            metric.update_state(targets, outputs[0])
        return loss

    return step


class Validation:
    """Judges a model on a split, compiled once.

    Args:
        model: The model.
        split: The samples.
        objective: Gives the task's loss and metric.
        batch_size: Samples a call.
    """

    def __init__(self, model: Any, split: Split, objective: Objective, batch_size: int) -> None:
        import tensorflow as tf

        self._task = objective.task
        self._batches = split.in_order(max(batch_size, 256))
        self._metrics = self._task.keras_metrics()

        @tf.function(input_signature=self._batches.element_spec, autograph=False)
        def step(inputs: Any, targets: Any) -> Any:
            outputs = _flat(model(inputs, training=False))
            for metric in self._metrics:
                metric.update_state(targets, outputs[0])
            return objective.task_loss(outputs, targets), outputs

        self._step = step

    def __call__(self) -> tuple[float, float]:
        """The task's loss, mean over samples, and its metric."""
        for metric in self._metrics:
            metric.reset_state()
        losses, sizes, collected = [], [], []
        for inputs, targets in self._batches:
            loss, outputs = self._step(inputs, targets)
            losses.append(float(loss))
            sizes.append(len(outputs[0]))
            if not self._metrics:
                collected.append(([o.numpy() for o in outputs], _as_numpy(targets)))
        loss = float(np.average(losses, weights=sizes))
        if self._metrics:
            return loss, float(self._metrics[0].result())
        return loss, self._score(collected)

    def _score(self, parts: list[Any]) -> float:
        import tensorflow as tf

        outputs = [np.concatenate(o) for o in zip(*(p[0] for p in parts), strict=True)]
        targets = tf.nest.map_structure(lambda *t: np.concatenate(t), *(p[1] for p in parts))
        return self._task.score(outputs, targets)


def _as_numpy(targets: Any) -> Any:
    import tensorflow as tf

    return tf.nest.map_structure(lambda t: t.numpy(), targets)
