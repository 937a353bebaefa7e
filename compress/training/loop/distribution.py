"""Training on several devices or hosts at once, each with a share of every batch.

Every replica sees its own samples of the batch that a single device would see, in the same order;
gradients are added up, so that every replica makes the same step. Batch statistics are those of a
replica's own share, and their running averages are averaged over replicas.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.loop.checkpoints import assign, values
from edgepress.compress.training.loop.steps import Apply, Objective, floats

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

# TensorFlow connects workers before its first operation, so there is one strategy for a process.
_joined: list[Any] = []


def join_workers() -> None:
    """Connect this process with the other workers that the variable TF_CONFIG names.

    Has to come before anything else that uses TensorFlow, and is called once in a process.

    Raises:
        InputError: TF_CONFIG is missing, or TensorFlow has been used already.

    Source: TensorFlow's MultiWorkerMirroredStrategy.
    """
    import tensorflow as tf

    if _joined:
        return
    if "TF_CONFIG" not in os.environ:
        raise InputError(
            "distribute multi-worker needs the variable TF_CONFIG, which names the workers",
            "set it on each host, or take distribute mirrored for the devices of this one",
        )
    try:
        _joined.append(tf.distribute.MultiWorkerMirroredStrategy())
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the workers can't be joined: {str(error).splitlines()[0]}",
            "call finetune.join_workers() before a model is loaded",
        ) from error


def is_chief() -> bool:
    """Whether this process writes what a training leaves: all but the workers behind the first."""
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    return not _joined or task.get("index", 0) == 0


class Replicas:
    """The devices that train together, and the model as it lies on them.

    Args:
        strategy: TensorFlow's.
        model: The caller's model; stays as it is until `hand_back`.

    Attributes:
        model: A copy of it, with its variables on every device.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model) -> None:
        self._strategy = strategy
        self._given = model
        with strategy.scope():
            self.model = copy_model(model)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Variables that are made inside lie on every device."""
        with self._strategy.scope():
            yield

    def hand_back(self) -> None:
        """Give the caller's model what was learned."""
        assign(self._given.variables, values(self.model.variables))

    def step(self, objective: Objective, apply: Apply, signature: Any) -> Callable[..., tf.Tensor]:
        """Compile one training step over all devices.

        Args:
            objective: What is minimised.
            apply: Changes the model: takes gradients and the variables that they belong to.
            signature: (inputs, targets[, weights]) specifications of the batches.

        Returns:
            A function of (inputs, targets[, weights]), the whole batch, that gives its loss.
        """
        import tensorflow as tf

        model, strategy = self.model, self._strategy
        variables = model.trainable_variables
        statistics = _statistics(model)

        def share(*batch: Nested) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            own, part = _share(batch, context)
            with tf.GradientTape() as tape:
                outputs = floats(model(own[0], training=True))
                loss = objective.loss(model, own[0], outputs, *own[1:]) * part
            gradients = tape.gradient(loss, variables)
            for value in statistics:
                mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(value))
                value.assign(mean)
            apply(context.all_reduce(tf.distribute.ReduceOp.SUM, gradients), variables)
            return loss

        @tf.function(input_signature=signature, autograph=False)
        def step(*batch: Nested) -> tf.Tensor:
            losses = strategy.run(share, args=batch)
            return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

        return step


def _share(
    batch: tuple[Nested, ...], context: tf.distribute.ReplicaContext
) -> tuple[Any, tf.Tensor]:
    """A replica's samples of a batch, and their share of it; one sample of no weight where none."""
    import tensorflow as tf

    size = tf.shape(tf.nest.flatten(batch[1])[0])[0]
    number, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
    chosen = tf.range(number, tf.maximum(size, number), count)
    part = tf.cast(tf.size(chosen), tf.float32) / tf.cast(size, tf.float32)
    chosen = tf.cond(tf.size(chosen) > 0, lambda: chosen, lambda: tf.zeros((1,), tf.int32))
    return tf.nest.map_structure(lambda t: tf.gather(t, chosen), batch), part


def _statistics(model: keras.Model) -> list[tf.Variable]:
    """Running averages that a training step moves."""
    import keras

    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    return [v.value for layer in layers for v in layer.non_trainable_variables]


def strategy_of(spec: TrainSpec) -> tf.distribute.Strategy | None:
    """TensorFlow's strategy for a training, or None.

    Raises:
        InputError: An option doesn't go with it, or the workers can't be joined.
    """
    import tensorflow as tf

    if spec.distribute == "none":
        return None
    for name in ("accumulate", "distill_layers"):
        if getattr(spec, name) != type(spec).model_fields[name].default:
            raise InputError(f"{name} does not go with distribute", "leave one of them out")
    if spec.distribute == "multi-worker":
        join_workers()
        return _joined[0]
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([d.name for d in devices])


def distributed_optimizer(
    make: Callable[[], keras.Optimizer], replicas: Replicas
) -> keras.Optimizer:
    """An optimizer on every device that takes gradients as they are.

    Keras's would add them up over replicas after it has bounded them; here they come added up.
    """
    with replicas.scope():
        optimizer = make()
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs
    return optimizer
