"""What a sample of each class, each label and the positives of a label count in the loss."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, Split, Task
from edgepress.compress.data.losses.by_place import has_values
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular, names_file, reading, text_of
from edgepress.compress.kernel.registry import near_names

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# "auto" balances from this ratio of the largest class to the smallest.
_UNEVEN = 1.5
_BATCH = 1024
# A number for each label.
_MOST_BYTES = 10_000_000


def class_weights(setting: str, model: keras.Model, dataset: Dataset) -> tuple[float, ...]:
    """The weight of each class, or of each label of several.

    "balanced" is `samples / (classes * samples of the class)`; classes without samples get 1.

    Args:
        setting: "none", "balanced", "auto", or `0=1,3=2.5` by number or name of the class.
        model: Its output says how many classes there are.
        dataset: Its training split is counted.

    Returns:
        One weight for each class; empty where all count the same.

    Raises:
        InputError: The task has no classes, a class doesn't exist, or the loss has no values to
            weigh.

    Source: King and Zeng, "Logistic regression in rare events data" (2001), as in scikit-learn.
    """
    given = given_class_weights(setting, model, dataset)
    if given is not None:
        return given
    found = _counts(dataset.training_split, dataset.task, _classes(model))
    held = found[found > 0]
    if setting == "auto" and held.max() <= _UNEVEN * held.min():
        return ()
    weights = np.where(found > 0, found.sum() / (len(held) * np.maximum(found, 1)), 1.0)
    return tuple(weights.tolist())


def given_class_weights(
    setting: str, model: keras.Model, dataset: Dataset
) -> tuple[float, ...] | None:
    """As `class_weights`, without reading the training split; None where it must be counted."""
    if setting == "none":
        return ()
    _check(dataset.task, setting)
    _refuse_one_number("class_weights", model, dataset)
    if setting in ("balanced", "auto"):
        return None
    weights = _given("class_weights", setting, _classes(model), dataset.class_names)
    if not any(weights):
        raise InputError("class_weights: all are 0, so nothing would be learned")
    return weights


def _classes(model: keras.Model) -> int:
    return max(2, int(model.outputs[0].shape[-1]))


def _check(task: Task, setting: str) -> None:
    single = len(task.losses) == 1
    if single and _are_labels(task) and task.kind == "multi-label":
        if setting not in ("balanced", "auto"):
            return
        raise InputError(
            f"class weights of single labels can't be {setting}: each has samples of both sides",
            "take --positive-weights balanced, or name weights as 0=1,3=2.5",
        )
    classes = "crossentropy" in task.losses[0] or task.kind in ("classification", "binary")
    if single and classes:
        return
    raise InputError(
        f"class weights are for one output of classes, but the task is {task.kind}"
        + ("" if single else f" with {len(task.losses)} outputs"),
        "leave class_weights out",
    )


def _are_labels(task: Task) -> bool:
    """Whether targets of the first output are labels, each yes or no."""
    output = task.outputs[0]
    if output.kind in ("binary", "multi-label"):
        return True
    one_of_many = output.numbered or output.loss.startswith("categorical")
    return output.kind == "image-to-image" and output.of_classes and not one_of_many


def positive_weights(setting: str, model: keras.Model, dataset: Dataset) -> tuple[float, ...]:
    """What the positives of each label count in the loss; its negatives count 1.

    "balanced" is `negatives / positives` of the training split; 1 for a label that has none of
    either.

    Args:
        setting: "none", "balanced", one number for all labels, one for each as `1,5`, by number or
            name as `0=3,cat=2`, or a file of numbers.
        model: Its output says how many labels there are.
        dataset: Its training split is counted.

    Returns:
        One weight for each label; empty where positives count as negatives do.

    Raises:
        InputError: The task has no labels, there are other numbers, or the loss has no values to
            weigh.

    Source: as `pos_weight` of a binary cross-entropy is commonly defined.
    """
    given = given_positive_weights(setting, model, dataset)
    if given is not None:
        return given
    yes, no = _sides(dataset.training_split, dataset.task, _label_count(model))
    weights = np.where((yes > 0) & (no > 0), no / np.maximum(yes, 1), 1.0)
    return tuple(weights.tolist())


def given_positive_weights(
    setting: str, model: keras.Model, dataset: Dataset
) -> tuple[float, ...] | None:
    """As `positive_weights`, without reading the training split; None where it must be counted."""
    if setting == "none":
        return ()
    task = dataset.task
    if len(task.outputs) > 1 or not _are_labels(task):
        raise InputError(
            "positive weights are for one output of labels, each yes or no, but the task is"
            f" {task.text()}",
            "take --class-weights for classes, else leave positive_weights out",
        )
    _refuse_one_number("positive_weights", model, dataset)
    count = _label_count(model)
    if setting == "balanced":
        return None
    if names_file(setting) and not Path(setting).is_dir():
        return _numbers(_read(Path(setting), count, dataset.class_names), count, setting)
    if "=" in setting:
        return _given("positive_weights", setting, count, dataset.class_names)
    return _numbers(setting.split(","), count, setting)


def _label_count(model: keras.Model) -> int:
    return int(model.outputs[0].shape[-1] or 1)


def _sides(split: Split, task: Task, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(labels,) how many places say yes, and how many no; those without a label left out."""
    yes, no = np.zeros(count), np.zeros(count)
    for _, targets in split.source.batches(None, _BATCH).as_numpy_iterator():
        values = next(iter(targets.values())) if isinstance(targets, dict) else targets
        counting = task.outputs[0].counting(values)
        kept = np.ones(values.shape, bool) if counting is None else counting
        positive, kept = (a.reshape(-1, count) for a in (values > 0.5, kept))
        yes += (positive & kept).sum(0)
        no += (~positive & kept).sum(0)
    return yes, no


def _read(path: Path, count: int, names: Sequence[str]) -> list[Any]:
    """The numbers of a file: JSON (a list, or a mapping by name), NumPy, or text."""
    what = f"positive_weights: '{path}'"
    with reading(what):
        check_regular(path)
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{what} has {path.stat().st_size:,} bytes: it is no list of weights")
        if path.suffix == ".npy":
            # An array in memory takes what its head declares, a mapped one what the file holds.
            return list(np.load(path, mmap_mode="r", allow_pickle=False).ravel().tolist())
        text = text_of(path)
        if path.suffix != ".json":
            return text.replace(",", " ").split()
        found = json.loads(text)
    if isinstance(found, dict):
        pairs = ",".join(f"{name}={weight}" for name, weight in found.items())
        return list(_given("positive_weights", pairs, count, names)) if pairs else []
    return found if isinstance(found, list) else [found]


def _numbers(texts: Sequence[object], count: int, setting: str) -> tuple[float, ...]:
    weights = [_weight("positive_weights", str(text), str(n)) for n, text in enumerate(texts)]
    if len(weights) == 1:
        return tuple(weights * count)
    if len(weights) != count:
        raise InputError(
            f"positive_weights: '{setting}' has {len(weights)} numbers, the model {count} labels",
            "give one for all labels, or one for each",
        )
    return tuple(weights)


def _refuse_one_number(option: str, model: keras.Model, dataset: Dataset) -> None:
    """Refuse a loss that gives one number for a batch: there is nothing to weigh in it.

    Raises:
        InputError: Names the loss.
    """
    import tensorflow as tf

    output = dataset.task.outputs[0]
    if output.compiled is None and "crossentropy" in output.loss:
        return
    targets = dataset.training_split.sample(2)[1]
    target = tf.convert_to_tensor(dataset.task.target_list(targets)[0])
    shape = [8 if n is None else n for n in model.outputs[0].shape[1:]]
    if has_values(output, target, tf.fill((len(target), *shape), 0.5)):
        return
    raise InputError(
        f"{option} is given, but the loss {output.text()} gives no value for each place, so there"
        " is nothing to weigh",
        "leave it out, or return a value for each place",
    )


def _given(option: str, setting: str, count: int, names: Sequence[str]) -> tuple[float, ...]:
    weights = [1.0] * count
    for pair in setting.split(","):
        name, _, text = pair.partition("=")
        weights[_number(option, name.strip(), count, names)] = _weight(option, text, name)
    return tuple(weights)


def _number(option: str, name: str, count: int, names: Sequence[str]) -> int:
    if name in names:
        return list(names).index(name)
    if name.isdecimal() and int(name) < count:
        return int(name)
    raise InputError(
        f"{option}: there is no class '{name}'",
        near_names(name, names) if names else f"classes are numbered 0 to {count - 1}",
    )


def _weight(option: str, text: str, name: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise InputError(f"{option}: '{text}' for class '{name}' is not a weight of 0 or more")
    return weight


def _counts(split: Split, task: Task, count: int) -> NDArray[np.float64]:
    """(classes,) number of samples (of pixels, for images) of each class."""
    labels = split.source.labels()
    parts = [labels] if labels is not None else _labels(split, task)
    total = np.zeros(count)
    for part in parts:
        counting = task.outputs[0].counting(part)
        classes = part if counting is None else part[counting]
        total += np.bincount(classes.astype(np.int64).ravel(), minlength=count)[:count]
    return total


def _labels(split: Split, task: Task) -> Iterator[NDArray[Any]]:
    by_number = "sparse" in task.losses[0]
    for _, targets in split.source.batches(None, _BATCH).as_numpy_iterator():
        values = next(iter(targets.values())) if isinstance(targets, dict) else targets
        one_hot = not by_number and values.ndim > 1 and values.shape[-1] > 1
        yield values.argmax(-1) if one_hot else values


def weights_of_positives(
    weights: Sequence[float], target: tf.Tensor, output: tf.Tensor
) -> tf.Tensor:
    """The weight of each label of a batch by its side.

    Args:
        weights: What a "yes" of each label counts.
        target: (batch, …) labels in the output's shape.
        output: (batch, …, labels).

    Returns:
        (batch, …, labels) tensor; of a single label (batch, …).
    """
    import tensorflow as tf

    positive = tf.reshape(tf.cast(target, tf.float32), tf.shape(output)) > 0.5
    found = tf.where(positive, tf.constant(weights, tf.float32), 1.0)
    found = tf.ensure_shape(found, output.shape)
    return tf.squeeze(found, -1) if output.shape[-1] == 1 else found


def sample_weights(
    weights: Sequence[float], task: OutputTask, target: tf.Tensor, output: tf.Tensor
) -> tf.Tensor:
    """The weight of each sample (of each pixel, for images) of a batch, or of each label.

    Args:
        weights: One for each class or label.
        task: What the output is asked for.
        target: (batch, …) class numbers, or one-hot along the last axis.
        output: (batch, …, classes).

    Returns:
        (batch, …) tensor: the output's shape, of classes without the last axis.
    """
    import tensorflow as tf

    loss = task.loss
    if task.kind == "multi-label":
        return tf.ones_like(output) * tf.constant(weights, tf.float32)
    if "sparse" not in loss and output.shape[-1] != 1:
        classes = tf.argmax(target, -1)
    else:
        classes = tf.reshape(tf.cast(target, tf.int32), tf.shape(output)[:-1])
    return tf.gather(tf.constant(weights, tf.float32), classes)
