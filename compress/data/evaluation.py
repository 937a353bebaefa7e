"""Running a model over a split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from inspect import isfunction
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.dataset import BesideSplits, Split
from edgepress.compress.data.tasks import Task
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.models.fingerprints import configuration
from edgepress.compress.variables import seen

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
    """The metric of each output of a model on a split; a model that was scored isn't run again.

    Args:
        model: A Keras model.
        split: The samples.
        task: Says which metrics.
        batch_size: Samples a call.
    """
    key = identity(model)
    known = _SCORED.of(split)
    for scored in known:
        if scored.model == key is not None and scored.task is task and scored.size == batch_size:
            return scored.rows
    outputs, targets = predict(model, split, batch_size)
    rows = task.figures(outputs, targets)
    if key is not None:
        known.append(_Scored(key, task, batch_size, rows))
    return rows


@dataclass(frozen=True, eq=False)
class _Scored:
    """What a model was found to be worth.

    Attributes:
        model: Its identity.
        task: Which metrics.
        size: Samples a call, which rounding depends on.
        rows: The metrics.
    """

    model: str
    task: Task
    size: int
    rows: tuple[OutputMetric, ...]


# What is known of each split's models. A pipeline scores a model where a stage ends and again
# where the next begins, a pruning its source.
_SCORED: BesideSplits[list[_Scored]] = BesideSplits(list)


def identity(model: keras.Model) -> str | None:
    """Hash of all that a model of Keras's own layers computes by; None for others.

    Code of the user's own may look at more than a configuration and variables.
    """
    if not all(map(_is_known, model._flatten_layers())):
        return None
    held = configuration(model)
    if held is None:
        return None
    digest = hashlib.sha256(held.encode())
    for variable in model.variables:
        digest.update(f"{variable.shape}:{variable.dtype};".encode())
        digest.update(np.ascontiguousarray(seen(variable)).tobytes())
    return digest.hexdigest()


def _is_known(layer: keras.Layer) -> bool:
    """Whether a layer is of Keras's own, and holds no function of another's."""
    if not type(layer).__module__.startswith("keras.") or type(layer).__name__ == "Lambda":
        return False
    functions = (value for value in vars(layer).values() if isfunction(value))
    return all(f.__module__.startswith("keras.") for f in functions)
