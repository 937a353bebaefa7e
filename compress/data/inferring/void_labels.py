"""A label that marks places without a class, such as 255 in masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.asked import ByOutput
from edgepress.compress.data.inferring.output_reading import Look, Seen
from edgepress.compress.data.inferring.target_reading import Output
from edgepress.compress.data.losses.by_place import OVERLAPS, VoidLabel, has_values
from edgepress.compress.data.metrics import LOSS, metric_of
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Ignored:
    """A label that is left out of an output.

    Attributes:
        value: The label.
        only: Whether it is for this output alone, whose targets must be classes or labels then.
        compiled: Whether the compiled loss says so.
    """

    value: int
    only: bool = True
    compiled: bool = False


def label_of(output: Output, ignored: ByOutput, loss: str | None, several: bool) -> Ignored | None:
    """The label that is left out of an output: as asked for, else as it was compiled; or None.

    Args:
        output: The output.
        ignored: What is asked for.
        loss: The loss that is asked for, or None.
        several: Whether there are other outputs.

    Raises:
        InputError: It is no whole number.
    """
    text = ignored.get(output.name) if isinstance(ignored, Mapping) else ignored
    if text is not None:
        return Ignored(whole_label(text), not several or isinstance(ignored, Mapping))
    found = getattr(output.compiled.object, "ignore_class", None)
    if loss is None and isinstance(found, int):
        return Ignored(found, only=False, compiled=True)
    return None


def whole_label(text: str) -> int:
    """A label as a number.

    Raises:
        InputError: It is no whole number.
    """
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"ignore_label: '{text}' is no label", "write a whole number, such as 255"
        ) from None


def without_void(targets: Array, label: Ignored) -> Array:
    """Targets with 0 in place of the label, so that they are read as the others say.

    Args:
        targets: (samples, …).
        label: Marks places that don't count.
    """
    return np.where(targets == label.value, 0, targets).astype(targets.dtype)


def kept_of(look: Look | None, name: str, label: Ignored) -> Look | None:
    """What outputs give, of one of them in the places that count alone."""
    if look is None:
        return None

    def kept() -> Mapping[str, Seen]:
        found = look()[name]
        outputs, targets = found.outputs, found.targets
        if outputs.size == targets.size:
            counting = targets != label.value
            outputs, targets = outputs.reshape(targets.shape)[counting], targets[counting]
        return {name: Seen(outputs, targets)}

    return kept


def _as_labels(task: OutputTask, targets: Array, label: Ignored) -> OutputTask:
    """Rows in which single labels are left out are labels, each for itself, not one class."""
    if task.kind == "classification" and not task.numbered and (targets == label.value).any():
        return replace(task, kind="multi-label", loss="binary_crossentropy")
    return task


def with_void(
    task: OutputTask, output: Output, targets: Array, label: Ignored
) -> tuple[OutputTask, str]:
    """The task without the places of a label.

    Args:
        task: By the other places.
        output: What it is of.
        targets: (samples, …) as the data has them.
        label: Marks places that don't count.

    Returns:
        The task, and a remark where the loss gets the label as it is, or empty.

    Raises:
        InputError: Targets are values, the label is a class too or all there is, or the loss can't
            leave places out.
    """
    task = _as_labels(task, targets, label)
    _check(task, output, targets, label)
    loss = getattr(task.keras_loss(), "loss", task.keras_loss())
    if type(loss).__name__ in OVERLAPS:
        return replace(task, void=VoidLabel(label.value, "overlap")), ""
    found = replace(task, void=VoidLabel(label.value))
    if _has_values(found, targets, output.shape):
        return found, ""
    if task.compiled is None or "in its place" not in task.settings:
        raise InputError(
            f"loss '{task.loss}' of output '{task.name}' has no value for each place, so that"
            f" places of label {label.value} can't be left out",
            "take a cross-entropy",
        )
    return replace(task, void=VoidLabel(label.value, "itself")), (
        f"the loss of output '{task.name}' gives no value for each place: it gets label"
        f" {label.value} as the data has it, and must leave it out itself"
    )


def _check(task: OutputTask, output: Output, targets: Array, label: Ignored) -> None:
    """Refuse a label where targets have none, where it is a class, and where it is all there is."""
    if task.kind == "own" or not task.of_classes:
        mean = "mean something to its loss alone" if task.kind == "own" else "are values"
        raise InputError(
            f"ignore_label is given, but the targets of output '{task.name}' {mean}",
            "a label can be left out where targets are classes or labels",
        )
    size = output.shape[-1] or 0
    labels = (-1, 0, 1) if "hinge" in output.loss else (0, 1)
    classes = range(size) if task.numbered else labels
    if label.value in classes and not label.compiled:
        raise InputError(
            f"ignore_label {label.value} is a class of output '{output.name}' too",
            f"mark what has no class by another number than {classes[0]} to {classes[-1]}",
        )
    if targets.size and (targets == label.value).all():
        raise InputError(
            f"all targets of output '{output.name}' are {label.value}, which is to be left out",
            "give each class its number",
        )


def _has_values(task: OutputTask, targets: Array, shape: Sequence[int | None]) -> bool:
    """Whether the loss has a value for each place."""
    import tensorflow as tf

    few = tf.convert_to_tensor(targets[:2])
    inner = (*targets.shape[1:], *shape[targets.ndim - 1 :])
    sizes = [i if s is None else s for s, i in zip(shape, inner, strict=False)]
    outputs = tf.fill((len(few), *sizes), 1 / max(sizes[-1] if sizes else 1, 2))
    return has_values(task, few, tf.cast(outputs, tf.float32))


def refuse_void_metric(task: OutputTask) -> None:
    """Refuse a metric that can't leave places out.

    Raises:
        InputError: Names those that can.
    """
    metric = metric_of(task.metric)
    if task.void is None or metric.own or task.metric == LOSS or metric.of_places is not None:
        return
    raise InputError(
        f"metric '{task.metric}' can't leave out label {task.void.value} of output '{task.name}'",
        "take accuracy, f1, iou, dice, auc, mae or file.py:function",
    )


def refuse_absent(ignored: ByOutput, targets: Sequence[Mapping[str, Array]]) -> None:
    """Refuse a label that occurs in no split.

    Args:
        ignored: As it was asked for.
        targets: Those of outputs that leave a label out, by name, of each split.

    Raises:
        InputError: Names it.
    """
    asked = ignored.items() if isinstance(ignored, Mapping) else [("", ignored)]
    for name, text in asked:
        if text is None:
            continue
        held = [a for split in targets for n, a in split.items() if name in ("", n)]
        if not any((array == whole_label(text)).any() for array in held):
            where = f" of output '{name}'" if name else ""
            raise InputError(
                f"ignore_label {text} occurs nowhere in the targets{where}",
                "leave it out, or look which number marks what has no class",
            )
