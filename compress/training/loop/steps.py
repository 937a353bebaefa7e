"""The compiled functions of a training: one step, and a pass over a validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data import Split, Task
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.loop.class_weights import sample_weights, weights_of_positives
from edgepress.compress.training.loop.own_loss import OwnLoss
from edgepress.compress.training.teacher.distillation import answers, distance
from edgepress.compress.training.teacher.feature_matching import Recorder, feature_loss

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights

# Names of the operations that keep a state between two calls begin so.
_DRAWING = ("Random", "TruncatedNormal", "Multinomial", "ParameterizedTruncatedNormal")

Apply = Callable[[list[Any], list[Any]], Any]


@dataclass(frozen=True)
class Objective:
    """What a training minimises.

    Attributes:
        task: Gives the loss of each output.
        spec: Weighs labels against the teacher.
        teacher: A model whose outputs are learned, or None.
        weights: What a sample of each class counts in training; empty where all count the same.
        positive: What a "yes" of each label counts in training; empty where it counts as a "no".
        own: Records the features that are matched, or None.
        others: Records the teacher's.
        own_loss: The loss of the model's own class in place of the task's, or None.
        known: Whether training batches carry the teacher's answers beside the targets.
    """

    task: Task
    spec: TrainSpec
    teacher: Any = None
    weights: tuple[float, ...] = ()
    positive: tuple[float, ...] = ()
    own: Recorder | None = None
    others: Recorder | None = None
    own_loss: OwnLoss | None = None
    known: bool = False

    def parted(self, targets: Any) -> tuple[Nested, list[tf.Tensor] | None]:
        """The targets of a training batch, and the teacher's answers where it carries them."""
        return (targets[0], list(targets[1])) if self.known else (targets, None)

    def task_loss(
        self,
        inputs: Nested,
        outputs: Nested,
        targets: Nested,
        train: bool = False,
        weights: SampleWeights | None = None,
    ) -> tf.Tensor:
        """The task's loss, summed over outputs; or the model's own.

        It is a mean over samples, unless it was compiled as their sum.

        Args:
            inputs: What the model was given.
            outputs: What it gave, in its own structure.
            targets: What it should have given.
            train: Whether classes are weighed, as in training.
            weights: What each sample counts, as the data says it; or None.
        """
        if train and (self.weights or self.positive):
            weights = self._weighed(flat(outputs)[0], targets, weights)
        if self.own_loss is None:
            return _whole(self.task.total_loss(flat(outputs), targets, weights))
        return self.own_loss(inputs, targets, outputs, weights, train)

    def _weighed(
        self, output: tf.Tensor, targets: Nested, weights: SampleWeights | None
    ) -> tf.Tensor:
        """Weights of classes and positives, times those that the data gives."""
        target, asked = self.task.target_list(targets)[0], self.task.outputs[0]
        target = target if asked.void is None else asked.void.replaced(target)
        parts = []
        if self.weights:
            parts.append(sample_weights(self.weights, asked, target, output))
        if self.positive:
            parts.append(weights_of_positives(self.positive, target, output))
        found = parts[0] if len(parts) == 1 else parts[0] * parts[1]
        given = next(iter(weights.values()), None) if isinstance(weights, dict) else weights
        if given is None:
            return found
        import tensorflow as tf

        # One for each sample counts for all places of it.
        missing = [1] * (found.shape.rank - given.shape.rank)
        return found * tf.reshape(given, tf.concat([tf.shape(given), missing], 0))

    def loss(
        self,
        model: keras.Model,
        inputs: Nested,
        outputs: Nested,
        targets: Nested,
        weights: SampleWeights | None = None,
        taught: list[tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """What is minimised: the loss, or its mixture with the distance from the teacher.

        With what the model's layers add to it; a loss of the model's own decides that itself.

        Args:
            model: What is trained; was called just now.
            inputs: What it was given.
            outputs: What it gave, in its own structure.
            targets: What it should have given.
            weights: What each sample counts, or None.
            taught: The teacher's answers, where they are known.
        """
        total = self._mixed(inputs, outputs, targets, weights, taught)
        if self.own_loss is not None and self._hard_share > 0:
            return total
        return total + _added(model, total.dtype) if model.losses else total

    @property
    def _hard_share(self) -> float:
        """Share of the loss that labels have."""
        return 1.0 if self.teacher is None else 1 - self.spec.distill_weight

    def _mixed(
        self,
        inputs: Nested,
        outputs: Nested,
        targets: Nested,
        weights: SampleWeights | None,
        taught: list[tf.Tensor] | None,
    ) -> tf.Tensor:
        if self.teacher is None:
            return self.task_loss(inputs, outputs, targets, True, weights)
        if taught is None:
            taught = answers(self.task, flat(self.teacher(inputs, training=False)))
        soft = distance(self.task, flat(outputs), taught, self.spec.temperature)
        weight = self.spec.distill_weight
        hard = self.task_loss(inputs, outputs, targets, True, weights) if weight < 1 else 0.0
        total = weight * soft + (1 - weight) * hard
        if self.own is None or self.others is None:
            return total
        match = feature_loss(self.own.outputs, self.others.outputs)
        return total + self.spec.distill_layers_weight * match


def _whole(loss: tf.Tensor) -> tf.Tensor:
    """A loss that Keras divided by the number of replicas; a replica's share is weighed later."""
    import tensorflow as tf

    count = tf.distribute.get_strategy().num_replicas_in_sync
    return loss if count == 1 else loss * count


def _added(model: keras.Model, kind: tf.DType) -> tf.Tensor:
    """What layers add to the loss, each whatever its shape summed up as in Keras."""
    import tensorflow as tf

    return tf.add_n([tf.reduce_sum(tf.cast(loss, kind)) for loss in model.losses])


def floats(outputs: Nested) -> Nested:
    """A model's outputs in their structure, in float32 whatever its layers compute in."""
    import keras

    return keras.tree.pack_sequence_as(outputs, flat(outputs))


def flat(outputs: Nested) -> list[tf.Tensor]:
    """A model's outputs as a list, in float32 whatever its layers compute in."""
    import keras
    import tensorflow as tf

    found = keras.tree.flatten(outputs)
    return [tf.cast(o, tf.float32) if o.dtype == tf.bfloat16 else o for o in found]


def training_step(
    model: keras.Model,
    objective: Objective,
    apply: Apply,
    metrics: list[tuple[int, keras.Metric]],
    signature: Any,
) -> Callable[..., tf.Tensor]:
    """Compile one training step.

    Args:
        model: Trained in place, what is trainable of it.
        objective: What is minimised; the model's regularisation is added.
        apply: Changes the model: takes gradients and the variables that they belong to.
        metrics: Keras metrics of the training display, each with the place of its output.
        signature: (inputs, targets[, weights]) specifications of the batches.

    Returns:
        A function of (inputs, targets[, weights]) that changes the model and returns the loss.
    """
    import tensorflow as tf

    variables = model.trainable_variables

    @tf.function(input_signature=signature, autograph=False)
    def step(inputs: Nested, targets: Any, *given: Nested) -> tf.Tensor:
        targets, taught = objective.parted(targets)
        with tf.GradientTape() as tape:
            answered = floats(model(inputs, training=True))
            weights = given[0] if given else None
            loss = objective.loss(model, inputs, answered, targets, weights, taught)
        if variables:
            gradients = tape.gradient(loss, variables)
            apply(gradients, variables)
        outputs, wanted = flat(answered), objective.task.target_list(targets)
        for place, metric in metrics:
            metric.update_state(
                *objective.task.outputs[place].followed(wanted[place], outputs[place])
            )
        return loss

    return step


def draws_statefully(step: tf.types.experimental.PolymorphicFunction) -> bool:
    """Whether a step holds TensorFlow's own random operations, which go on where they stood.

    Keras's layers draw from generators that are variables; only a user's own layers do otherwise.
    """
    graph = step.get_concrete_function().graph
    nodes = [*graph.as_graph_def().node]
    for function in graph.as_graph_def().library.function:
        nodes += function.node_def
    return any(node.op.startswith(_DRAWING) for node in nodes)


class Validation:
    """Judges a model on a split, compiled once.

    Args:
        model: The model.
        split: The samples.
        objective: Gives the task's loss and metric.
        batch_size: Samples a call.
    """

    def __init__(
        self, model: keras.Model, split: Split, objective: Objective, batch_size: int
    ) -> None:
        import tensorflow as tf

        self._task = objective.task
        self._batches = split.in_order(max(batch_size, 256), weighted=True)
        self._metrics = self._task.keras_metrics()

        @tf.function(input_signature=self._batches.element_spec, autograph=False)
        def step(
            inputs: Nested, targets: Nested, *weights: SampleWeights
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            given = floats(model(inputs, training=False))
            outputs = flat(given)
            for metric in self._metrics:
                metric.update_state(*self._task.outputs[0].followed(targets, outputs[0]))
            return objective.task_loss(inputs, given, targets, False, *weights), outputs

        self._step = step

    def __call__(self) -> dict[str, float]:
        """The task's loss, mean over samples, and its metric, by the names of their columns.

        With the metric of each output, where there are several.
        """
        for metric in self._metrics:
            metric.reset_state()
        losses, sizes, collected = [], [], []
        for inputs, targets, *weights in self._batches:
            loss, outputs = self._step(inputs, targets, *weights)
            losses.append(float(loss))
            sizes.append(len(outputs[0]))
            if not self._metrics:
                collected.append(([o.numpy() for o in outputs], _as_numpy(targets)))
        found = {"val_loss": float(np.average(losses, weights=sizes))}
        if self._metrics:
            return {**found, f"val_{self._task.metric}": float(self._metrics[0].result())}
        return found | self._scored(collected)

    def _scored(self, parts: list[Any]) -> dict[str, float]:
        import tensorflow as tf

        outputs = [np.concatenate(o) for o in zip(*(p[0] for p in parts), strict=True)]
        targets = tf.nest.map_structure(lambda *t: np.concatenate(t), *(p[1] for p in parts))
        figures = self._task.figures(outputs, targets)
        found = {f"val_{self._task.metric}": self._task.headline_of(figures)}
        single = {f"val_{f.output}_{f.metric}": float(f.value or 0.0) for f in figures}
        return found | single if len(self._task.outputs) > 1 else found


def _as_numpy(targets: Nested) -> Nested:
    import tensorflow as tf

    return tf.nest.map_structure(lambda t: t.numpy(), targets)
