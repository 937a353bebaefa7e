"""The task of a model, inferred from its outputs, some targets and what it was compiled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.compiled_objective import with_compiled_loss
from edgepress.compress.data.inferring.output_range import Reach, reach_of
from edgepress.compress.data.inferring.output_reading import Look, read_output
from edgepress.compress.data.inferring.target_range import check_range
from edgepress.compress.data.keras_counterparts import keras_loss, loss_name
from edgepress.compress.data.metrics import METRICS
from edgepress.compress.data.tasks import Kind, OutputTask, Task, output_names
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import CompiledLoss, compiled_losses

Array = NDArray[Any]

# The loss of outputs whose targets are class numbers.
_BY_NUMBER = "sparse_categorical_crossentropy"
# Losses of classes, by what their names hold; all others are of values.
_OF_CLASSES = ("crossentropy", "hinge")
_UNKNOWN = CompiledLoss("")


@dataclass(frozen=True)
class _Output:
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
        told = None if self.asked else self.compiled.from_logits
        return self.bare if told is None or not self.bare else told


def infer_task(
    model: Any,
    targets: Any,
    loss: str | None = None,
    metric: str | None = None,
    reaches: Sequence[Reach] | None = None,
    look: Look | None = None,
) -> Task:
    """Infer the task from the model's outputs and some targets.

    Args:
        model: A built Keras model.
        targets: (samples, …) array, or a mapping or sequence of one for each output.
        loss: Keras loss by name, instead of the inferred one.
        metric: Metric by name, instead of the inferred one.
        reaches: What values each output can take, if it is known already.
        look: What outputs give to samples of the data, for those that may be logits or not.

    Returns:
        The task.

    Raises:
        InputError: Targets don't fit the outputs or are out of their reach, or the loss or metric
            is unknown.
    """
    names = output_names(model)
    loss = loss and loss_name(loss)
    compiled = compiled_losses(model, names) or (_UNKNOWN,) * len(names)
    reaches = reaches or [reach_of(tensor) for tensor in model.outputs]
    counted = [c is not None and c.weight > 0 for c in compiled]
    arrays = _by_output(targets, names, counted)
    found, remarks = [], []
    for name, tensor, reach, said, target in zip(
        names, model.outputs, reaches, compiled, arrays, strict=True
    ):
        if said is None or said.weight <= 0:
            remarks.append(f"output '{name}' has no loss: it is neither trained nor scored")
            found.append(OutputTask(name, "regression", "mse", "mae", weight=0.0))
            continue
        output = _Output(
            name, tuple(tensor.shape[1:]), reach, loss or said.name, loss is not None, said
        )
        task = _infer_output(output, np.asarray(target))
        if loss is not None:
            _check_loss(loss, name, task.loss)
            task = replace(task, loss=loss)
        else:
            task, told = _as_compiled(output, task, np.asarray(target), look)
            remarks += told
        if "sparse" not in task.loss:
            remarks.append(check_range(name, np.asarray(target), reach, task.loss))
        if said.from_logits and not output.bare and loss is None and output.of_classes:
            remarks.append(
                f"output '{name}' was compiled with from_logits=True but has passed a"
                f" {reach.by or reach.squashing}: its values are taken as probabilities"
            )
        found.append(replace(task, weight=said.weight))
    chosen = found if metric is None else _with_metric(metric, found)
    return Task(tuple(chosen), metric, tuple(filter(None, remarks)))


def _as_compiled(
    output: _Output, task: OutputTask, targets: Array, look: Look | None
) -> tuple[OutputTask, list[str]]:
    """The task with the compiled loss, on logits or probabilities as the outputs themselves say."""
    said, remarks = output.compiled, []
    entropic = "crossentropy" in output.loss  # others, as a hinge, decide at 0
    if output.bare and entropic and said.from_logits is not True and look is not None:
        logits, told = read_output(task, said.from_logits, look()[output.name])
        task = replace(task, logits=logits)
        remarks.append(told)
    elif entropic and task.loss == "mse":
        task = replace(task, logits=output.logits)
    task, told = with_compiled_loss(task, said, targets, output.shape)
    if task.loss == "mse":
        task = replace(task, logits=False)
    return task, [*remarks, told]


def _is_keras_loss(name: str) -> bool:
    """Whether a name is that of a loss of Keras, not of the user's own."""
    try:
        keras_loss(name, False)
    except InputError:
        return False
    return True


def _by_output(targets: Any, names: Sequence[str], counted: Sequence[bool]) -> list[Any]:
    """Targets in the outputs' order; None where an output without a loss has none."""
    if isinstance(targets, Mapping):
        needed = [name for name, counts in zip(names, counted, strict=True) if counts]
        missing = [name for name in needed if name not in targets]
        if missing:
            raise InputError(
                f"no targets for output '{missing[0]}'",
                f"the data has {', '.join(map(str, targets))}, the model {', '.join(names)}",
            )
        return [targets.get(name) for name in names]
    arrays = list(targets) if isinstance(targets, list | tuple) else [targets]
    if len(arrays) == sum(counted) == 1:
        return [arrays[0] if counts else None for counts in counted]
    if len(arrays) != len(names):
        raise InputError(
            f"the model has {len(names)} outputs ({', '.join(names)}), the data {len(arrays)}",
            "name the targets y_train__NAME",
        )
    return arrays


def _with_metric(metric: str, outputs: Sequence[OutputTask]) -> list[OutputTask]:
    """Outputs scored by a metric: those it is natural for, else those it fits.

    The others keep their own.
    """
    by_value = METRICS[metric].by_value
    scored = [output for output in outputs if output.scored]
    fits = [o for o in scored if not (by_value and "sparse" in o.loss)]
    if not fits:
        raise InputError(
            f"metric '{metric}' compares values, but the targets of output '{outputs[0].name}' are"
            " class numbers",
            f"take {scored[0].metric}, or give one-hot targets",
        )
    taken = [o for o in fits if o.metric == metric] or fits
    return [replace(o, metric=metric) if o in taken else o for o in outputs]


def _check_loss(loss: str, name: str, inferred: str) -> None:
    """Refuse a loss that would compare class numbers with probabilities, or the reverse."""
    keras_loss(loss, False)
    if ("sparse" in loss.lower()) == (inferred == _BY_NUMBER):
        return
    numbers = inferred == _BY_NUMBER
    wants, has = ("values", "class numbers") if numbers else ("class numbers", "values")
    raise InputError(
        f"loss '{loss}' takes {wants}, but the targets of output '{name}' are {has}",
        f"take {inferred}" + (", or give one-hot targets" if numbers else ""),
    )


def _infer_output(output: _Output, targets: Array) -> OutputTask:
    """The task of one output by its targets."""
    whole = np.issubdtype(targets.dtype, np.integer) or np.issubdtype(targets.dtype, np.bool_)
    dense = len(output.shape) >= 3
    size = output.shape[-1] if output.shape else 1
    if size != 1 and whole and _is_index_shape(targets.shape, output.shape):
        _check_labels(output.name, targets, size)
        kind: Kind = "image-to-image" if dense else "classification"
        return OutputTask(output.name, kind, _BY_NUMBER, "accuracy", output.logits)
    _check_target_shape(output.name, targets, output.shape)
    binary = "image-to-image" if dense else "binary"
    if size == 1:
        if _are_labels(output, targets, whole):
            metric = "iou" if dense else "accuracy"
            return _classes(output, binary, "binary_crossentropy", metric)
    elif _is_one_hot(output, targets):
        kind = "image-to-image" if dense else "classification"
        return _classes(output, kind, "categorical_crossentropy", "accuracy")
    elif _are_labels(output, targets, whole):
        return _classes(output, "multi-label", "binary_crossentropy", "accuracy")
    kind = "image-to-image" if dense else "regression"
    # Values between 0 and 1 under a cross-entropy are probabilities.
    logits = output.asked and output.of_classes and output.logits
    return OutputTask(output.name, kind, "mse", "mae", logits)


def _classes(output: _Output, kind: Any, loss: str, metric: str) -> OutputTask:
    """An output of classes: what is learned as a value is decided at one half."""
    loss = output.loss if "hinge" in output.loss else loss
    return OutputTask(output.name, kind, loss, metric, output.logits and not output.of_values)


def _are_labels(output: _Output, targets: Array, whole: bool) -> bool:
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


def _is_one_hot(output: _Output, targets: Array) -> bool:
    """Whether each row of targets names one class, or shares of classes where the loss says so.

    Without a loss, labels for a softmax that were smoothed are known by their two values.
    """
    rows = targets.reshape(-1, targets.shape[-1])
    if not np.allclose(rows.sum(-1), 1, atol=1e-3):
        return False
    if np.isin(rows, (0, 1)).all():
        return True
    if (rows < 0).any():
        return False
    if output.loss.startswith("categorical"):
        return True
    plain = not output.loss and output.reach.squashing == "softmax"
    return plain and np.unique(rows.round(4)).size == 2


def _is_index_shape(target: Sequence[int], output: Sequence[int | None]) -> bool:
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


def _check_target_shape(name: str, targets: Array, shape: Sequence[int | None]) -> None:
    inner = targets.shape[1:]
    fits = len(inner) == len(shape) and all(
        s is None or s == i for i, s in zip(inner, shape, strict=True)
    )
    if not fits and not (tuple(shape[-1:]) == (1,) and inner == tuple(shape[:-1])):
        raise InputError(
            f"targets have shape {tuple(inner)}, output '{name}' has {tuple(shape)}",
            "the data belongs to another model, or needs preprocessing",
        )
