"""What a sample of each class counts in the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, Split, Task
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


# "auto" balances from this ratio of the largest class to the smallest.
_UNEVEN = 1.5
_BATCH = 1024


def class_weights(setting: str, model: keras.Model, dataset: Dataset) -> tuple[float, ...]:
    """The weight of each class.

    "balanced" is `samples / (classes * samples of the class)`; classes without samples get 1.

    Args:
        setting: "none", "balanced", "auto", or `0=1,3=2.5` by number or name of the class.
        model: Its output says how many classes there are.
        dataset: Its training split is counted.

    Returns:
        One weight for each class; empty where all count the same.

    Raises:
        InputError: The task has no classes, or a class doesn't exist.

    Source: King and Zeng, "Logistic regression in rare events data" (2001), as in scikit-learn.
    """
    if setting == "none":
        return ()
    _check(dataset.task)
    count = max(2, int(model.outputs[0].shape[-1]))
    if setting not in ("balanced", "auto"):
        return _given(setting, count, dataset.class_names)
    found = _counts(dataset.training_split, dataset.task, count)
    held = found[found > 0]
    if setting == "auto" and held.max() <= _UNEVEN * held.min():
        return ()
    weights = np.where(found > 0, found.sum() / (len(held) * np.maximum(found, 1)), 1.0)
    return tuple(weights.tolist())


def _check(task: Task) -> None:
    single = len(task.losses) == 1
    classes = "crossentropy" in task.losses[0] or task.kind in ("classification", "binary")
    if single and classes and task.kind != "multi-label":
        return
    raise InputError(
        f"class weights are for one output of classes, but the task is {task.kind}"
        + ("" if single else f" with {len(task.losses)} outputs"),
        "leave class_weights out",
    )


def _given(setting: str, count: int, names: Sequence[str]) -> tuple[float, ...]:
    weights = [1.0] * count
    for pair in setting.split(","):
        name, _, text = pair.partition("=")
        weights[_number(name.strip(), count, names)] = _weight(text, name)
    return tuple(weights)


def _number(name: str, count: int, names: Sequence[str]) -> int:
    if name in names:
        return list(names).index(name)
    if name.isdecimal() and int(name) < count:
        return int(name)
    raise InputError(
        f"class_weights: there is no class '{name}'",
        near_names(name, names) if names else f"classes are numbered 0 to {count - 1}",
    )


def _weight(text: str, name: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise InputError(f"class_weights: '{text}' for class '{name}' is not a weight of 0 or more")
    return weight


def _counts(split: Split, task: Task, count: int) -> NDArray[np.float64]:
    """(classes,) number of samples (of pixels, for images) of each class."""
    labels = split.source.labels()
    parts = [labels] if labels is not None else _labels(split, task)
    total = np.zeros(count)
    for part in parts:
        total += np.bincount(part.astype(np.int64).ravel(), minlength=count)[:count]
    return total


def _labels(split: Split, task: Task) -> Iterator[NDArray[Any]]:
    by_number = "sparse" in task.losses[0]
    for _, targets in split.source.batches(None, _BATCH).as_numpy_iterator():
        values = next(iter(targets.values())) if isinstance(targets, dict) else targets
        one_hot = not by_number and values.ndim > 1 and values.shape[-1] > 1
        yield values.argmax(-1) if one_hot else values


def sample_weights(
    weights: Sequence[float], loss: str, target: tf.Tensor, output: tf.Tensor
) -> tf.Tensor:
    """The weight of each sample (of each pixel, for images) of a batch.

    Args:
        weights: One for each class.
        loss: Keras's name of the output's loss.
        target: (batch, …) class numbers, or one-hot along the last axis.
        output: (batch, …, classes).

    Returns:
        (batch, …) tensor: the output's shape without the last axis.
    """
    import tensorflow as tf

    if "sparse" not in loss and output.shape[-1] != 1:
        classes = tf.argmax(target, -1)
    else:
        classes = tf.reshape(tf.cast(target, tf.int32), tf.shape(output)[:-1])
    return tf.gather(tf.constant(weights, tf.float32), classes)
