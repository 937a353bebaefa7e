"""Running a model over a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.dataset import Split
from edgepress.compress.data.tasks import Task
from edgepress.compress.kernel.figures import OutputMetric

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested


def predict(model: keras.Model, split: Split, batch_size: int = 256) -> tuple[list[Any], Any]:
    """A model's outputs and the targets, in stored order.

    Args:
        model: A Keras model.
        split: The samples.
        batch_size: Samples a call.

    Returns:
        A list with an (samples, …) array for each output, and the targets: an array, a mapping
        by output name, or a list.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run(inputs: Nested) -> list[tf.Tensor]:
        return tf.nest.flatten(model(inputs, training=False))

    outputs: list[list[Any]] = []
    targets: list[Any] = []
    for inputs, target in split.in_order(batch_size):
        outputs.append([part.numpy() for part in run(inputs)])
        targets.append(tf.nest.map_structure(lambda t: t.numpy(), target))
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return joined, tf.nest.map_structure(lambda *parts: np.concatenate(parts), *targets)


def evaluate(model: keras.Model, split: Split, task: Task, batch_size: int = 256) -> float:
    """The task's metric of a model on a split: the headline of `figures`.

    Args:
        model: A Keras model.
        split: The samples.
        task: Says which metric.
        batch_size: Samples a call.

    Returns:
        The metric.
    """
    return task.headline_of(figures(model, split, task, batch_size))


def figures(
    model: keras.Model, split: Split, task: Task, batch_size: int = 256
) -> tuple[OutputMetric, ...]:
    """The metric of each output of a model on a split.

    Args:
        model: A Keras model.
        split: The samples.
        task: Says which metrics.
        batch_size: Samples a call.
    """
    outputs, targets = predict(model, split, batch_size)
    return task.figures(outputs, targets)
