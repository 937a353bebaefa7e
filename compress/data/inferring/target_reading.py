"""What targets say of an output: classes, labels or values, and whether they fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.output_range import Reach
from edgepress.compress.data.losses.keras_counterparts import keras_loss
from edgepress.compress.data.output_task import Kind, OutputTask
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import CompiledLoss

Array = NDArray[Any]

# The loss of outputs whose targets are class numbers.
BY_NUMBER = "sparse_categorical_crossentropy"
# What marks pixels without a class in masks, in PASCAL VOC and most others.
VOID = 255
# Losses of classes, by what their names hold; all others are of values.
_OF_CLASSES = ("crossentropy", "hinge")
# By how much the largest share leads where rows of shares are read as classes without a word.
_LEAD = 0.1
# Losses between shares of classes.
_OF_SHARES = ("categorical", "kl_divergence", "kullback_leibler", "kld")


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Attributes:
        name: Of the output.
        shape: Of one sample.
        reach: What values it can take.
        loss: The loss that was asked for, or else compiled; empty where nothing is known.
        asked: Whether the loss was asked for.
        compiled: What it was compiled with.
    """

    name: str
    shape: tuple[int | None, ...]
    reach: Reach
    loss: str
    asked: bool
    compiled: CompiledLoss

    @property
    def bare(self) -> bool:
        """Whether it has passed no softmax or sigmoid."""
        return not self.reach.squashing

    @property
    def of_classes(self) -> bool:
        """Whether a known loss says that targets are classes or probabilities."""
        return any(part in self.loss for part in _OF_CLASSES)

    @property
    def of_values(self) -> bool:
        """Whether a known loss says that targets are values."""
        return bool(self.loss) and not self.of_classes and _is_keras_loss(self.loss)

    @property
    def logits(self) -> bool:
        """Whether it gives logits, where its loss is one of classes."""
        compiled_logits = None if self.asked else self.compiled.from_logits
        return self.bare if compiled_logits is None or not self.bare else compiled_logits


def _is_keras_loss(name: str) -> bool:
    """Whether a name is that of a loss of Keras, not of the user's own."""
    try:
        keras_loss(name, False)
    except InputError:
        return False
    return True


def read_targets(output: Output, targets: Array) -> OutputTask:
    """The task of one output by its targets."""
    whole = np.issubdtype(targets.dtype, np.integer) or np.issubdtype(targets.dtype, np.bool_)
    dense = len(output.shape) >= 3
    size = output.shape[-1] if output.shape else 1
    if size != 1 and whole and is_index_shape(targets.shape, output.shape):
        if dense and size and size <= VOID:
            _refuse_void(output.name, targets, size)
        _check_labels(output.name, targets, size)
        kind: Kind = "image-to-image" if dense else "classification"
        return OutputTask(output.name, kind, BY_NUMBER, "accuracy", output.logits)
    _check_target_shape(output.name, targets, output.shape)
    binary: Kind = "image-to-image" if dense else "binary"
    if size == 1:
        if _are_labels(output, targets, whole):
            metric = "iou" if dense else "accuracy"
            return _classes(output, binary, "binary_crossentropy", metric)
        if dense and whole:
            _refuse_void(output.name, targets, 2)
    elif _is_one_hot(output, targets):
        kind = "image-to-image" if dense else "classification"
        return _classes(output, kind, "categorical_crossentropy", "accuracy")
    elif _are_labels(output, targets, whole):
        return _classes(output, "multi-label", "binary_crossentropy", "accuracy")
    kind = "image-to-image" if dense else "regression"
    # Values between 0 and 1 under a cross-entropy are probabilities.
    logits = output.asked and output.of_classes and output.logits
    return OutputTask(output.name, kind, "mse", "mae", logits)


def _classes(output: Output, kind: Kind, loss: str, metric: str) -> OutputTask:
    """An output of classes: what is learned as a value is decided at one half."""
    loss = output.loss if "hinge" in output.loss else loss
    return OutputTask(output.name, kind, loss, metric, output.logits and not output.of_values)


def _are_labels(output: Output, targets: Array, whole: bool) -> bool:
    """Whether targets of an output's shape are yes and no, each for itself.

    In floats they may be values that happen to be 0 and 1: they are labels where the output gives
    probabilities, where a loss says so, or where both occur and no loss says otherwise.
    """
    if "hinge" in output.loss and np.isin(targets, (-1, 1)).all():
        return True
    zero, one = targets == 0, targets == 1
    if not (zero | one).all():
        return False
    if whole or not output.bare or output.of_classes:
        return True
    return bool(zero.any() and one.any()) and not output.of_values


def _is_one_hot(output: Output, targets: Array) -> bool:
    """Whether each row of targets names one class, or shares of classes that sum to 1.

    Such shares are soft labels of a softmax, and of any output where the loss says so. Without a
    loss the largest must lead in most rows: where shares are nearly level, it names no class, and
    rounding alone would change who leads.
    """
    rows = targets.reshape(-1, targets.shape[-1])
    if not _sum_to_one(rows):
        return False
    if np.isin(rows, (0, 1)).all():
        return True
    if (rows < 0).any():
        return False
    if output.loss.startswith(_OF_SHARES):
        return True
    return not output.loss and output.reach.squashing == "softmax" and _decided(rows)


def _sum_to_one(rows: Array) -> bool:
    return np.allclose(rows.sum(-1), 1, atol=1e-3)


def _decided(rows: Array) -> bool:
    """Whether the largest share leads the second clearly in most rows."""
    second, first = np.partition(rows, -2, axis=-1)[:, -2:].T
    return bool(np.median(first - second) >= _LEAD)


def soft_remark(output: Output, task: OutputTask, targets: Array) -> str:
    """What to say of targets that are shares of classes, or look like it; empty of others."""
    if targets.shape[-1:] != output.shape[-1:] or targets.shape[-1] < 2 or task.numbered:
        return ""
    rows = targets.reshape(-1, targets.shape[-1])
    if (rows < 0).any() or not _sum_to_one(rows) or np.isin(rows, (0, 1)).all():
        return ""
    what = f"targets of output '{output.name}' are shares of classes"
    if "categorical" in task.loss or task.kind == "classification":
        return f"{what}: decisions are compared with the largest one"
    if output.loss or output.reach.squashing == "sigmoid":
        return ""
    if output.reach.squashing:
        return (
            f"{what} that name none clearly, and are read as values; to decide by the largest one,"
            " pass --loss categorical_crossentropy"
        )
    return (
        f"{what} that sum to 1, and are read as values, for it passes no softmax; if it gives"
        " logits, pass --loss categorical_crossentropy"
    )


def is_index_shape(target: Sequence[int], output: Sequence[int | None]) -> bool:
    """Whether targets hold one class index for each output vector."""
    inner = list(target[1:])
    if inner and inner[-1] == 1 and len(inner) == len(output):
        inner = inner[:-1]
    expected = output[:-1]
    return len(inner) == len(expected) and all(
        e is None or e == i for e, i in zip(expected, inner, strict=True)
    )


def _check_labels(name: str, targets: Array, classes: int | None) -> None:
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or (classes is not None and high >= classes):
        raise InputError(
            f"labels run from {low} to {high}, but output '{name}' has {classes} classes"
            f" (0 to {(classes or 0) - 1})",
            "number the classes from 0, or give a model with that many outputs",
        )


def _refuse_void(name: str, targets: Array, classes: int) -> None:
    """Refuse masks of class numbers beside which one more marks what has no class."""
    numbers = np.unique(targets)
    if numbers[-1] == VOID and len(numbers) > 1 and 0 <= numbers[0] <= numbers[-2] < classes:
        others = (
            " and ".join(map(str, numbers[:-1]))
            if len(numbers) < 4
            else f"{numbers[0]} to {numbers[-2]}"
        )
        raise InputError(
            f"masks of output '{name}' hold 255 beside {others}, which marks pixels without"
            " a class",
            f"pass --ignore-label {VOID}, or give each pixel a class from 0 to {classes - 1}",
        )


def _check_target_shape(name: str, targets: Array, shape: Sequence[int | None]) -> None:
    inner = targets.shape[1:]
    fits = len(inner) == len(shape) and all(
        s is None or s == i for i, s in zip(inner, shape, strict=True)
    )
    if not fits and not (tuple(shape[-1:]) == (1,) and inner == tuple(shape[:-1])):
        raise InputError(
            f"targets have shape {tuple(inner)}, output '{name}' has {tuple(shape)}",
            "the data belongs to another model, needs preprocessing, or goes with a loss that takes"
            " such targets: name it with --loss, as ctc or file.py:function",
        )
