"""The task of a model, inferred from its outputs, some targets and what it was compiled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.asked import Asked, ByOutput
from edgepress.compress.data.inferring.compiled_metrics import with_compiled_metrics
from edgepress.compress.data.inferring.compiled_objective import with_compiled_loss
from edgepress.compress.data.inferring.output_range import Reach, reach_of
from edgepress.compress.data.inferring.output_reading import Look, read_output
from edgepress.compress.data.inferring.own_losses import (
    OTHER_SHAPES,
    fitted,
    is_for_distances,
    own_loss,
)
from edgepress.compress.data.inferring.target_range import check_range
from edgepress.compress.data.inferring.target_reading import BY_NUMBER, Output, read_targets
from edgepress.compress.data.inferring.void_labels import (
    Ignored,
    kept_of,
    label_of,
    refuse_void_metric,
    with_void,
    without_void,
)
from edgepress.compress.data.losses.keras_counterparts import keras_loss
from edgepress.compress.data.metrics import LOSS, is_always_right, metric_of
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task, output_names
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import (
    CompiledLoss,
    compiled_losses,
    compiled_metrics,
)
from edgepress.compress.models.loss_objects import is_keras_loss
from edgepress.compress.models.user_code import is_reference

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]

_UNKNOWN = CompiledLoss("")


def infer_task(
    model: keras.Model,
    targets: Nested,
    loss: ByOutput = None,
    metric: ByOutput = None,
    reaches: Sequence[Reach] | None = None,
    look: Look | None = None,
    weights: Mapping[str, float] | None = None,
    ignored: ByOutput = None,
) -> Task:
    """Infer the task from the model's outputs and some targets.

    Args:
        model: A built Keras model.
        targets: (samples, …) array, or a mapping or sequence of one for each output.
        loss: Keras loss by name or `file.py:function`, instead of the inferred one; for single
            outputs a mapping by name.
        metric: Metric by name or `file.py:function`, likewise.
        reaches: What values each output can take, if it is known already.
        look: What outputs give to samples of the data, for those that may be logits or not.
        weights: What the losses of outputs count, by name, instead of the compiled weights.
        ignored: The label that marks places without a class; for single outputs a mapping by name.

    Returns:
        The task.

    Raises:
        InputError: Targets don't fit the outputs or are out of their reach, or the loss or metric
            is unknown.
    """
    names = output_names(model)
    asked = Asked(loss, metric, weights or {}, ignored)
    asked.check(names)
    compiled = compiled_losses(model, names) or (_UNKNOWN,) * len(names)
    compiled = tuple(
        _asked_for(said, name, asked) for name, said in zip(names, compiled, strict=True)
    )
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
        chosen = asked.loss_of(name)
        output = Output(
            name,
            tuple(tensor.shape[1:]),
            reach,
            said.name if chosen is None else "" if is_reference(chosen) else chosen,
            chosen is not None,
            said,
        )
        part, part_remarks = _of_output(output, asked, np.asarray(target), look, len(names) > 1)
        remarks += part_remarks
        found.append(replace(part, weight=said.weight))
    if not any(output.scored for output in found):
        raise InputError("no output has a loss: there is nothing to train or to measure")
    return _scored(model, asked, found, remarks)


def _of_output(
    output: Output, asked: Asked, targets: Array, look: Look | None, several: bool
) -> tuple[OutputTask, list[str]]:
    """The task of one output with its loss, and what to say of it."""
    loss = asked.loss_of(output.name)
    label = label_of(output, asked.ignored, loss, several)
    if label is None:
        return _task_of(output, loss, targets, look)
    return _labelled(output, loss, targets, look, label)


def _scored(
    model: keras.Model, asked: Asked, outputs: Sequence[OutputTask], remarks: Sequence[str]
) -> Task:
    """The task with the metrics that are asked for, else as it was compiled."""
    sizes = [tensor.shape[-1] for tensor in model.outputs]
    found, kept_remarks = list(outputs), list(remarks)
    if asked.one_metric is None:
        said = compiled_metrics(model, [output.name for output in outputs])
        taken, left = with_compiled_metrics(outputs, said, sizes)
        named = asked.metrics
        found = [o if o.name in named else t for o, t in zip(found, taken, strict=True)]
        kept_remarks += [] if named else left
    task = _with_metrics(asked, found, kept_remarks)
    for output, size in zip(task.outputs, sizes, strict=True):
        refuse_void_metric(output)
        if output.scored and is_always_right(output.metric, size):
            raise InputError(
                f"metric '{output.metric}' is always 1 of the {size} classes of output"
                f" '{output.name}'",
                f"take top-1 to top-{size - 1}",
            )
    return task


def _labelled(
    output: Output, loss: str | None, targets: Array, look: Look | None, label: Ignored
) -> tuple[OutputTask, list[str]]:
    """As `_task_of`, by the places that have a label alone."""
    seen = without_void(targets, label)
    task, remarks = _task_of(output, loss, seen, kept_of(look, output.name, label))
    if not (label.only or task.of_classes):
        return _task_of(output, loss, targets, look)
    task, remark = with_void(task, output, targets, label)
    return task, [*remarks, remark]


def _asked_for(said: CompiledLoss | None, name: str, asked: Asked) -> CompiledLoss | None:
    """What an output was compiled with, or that it has a loss where it is asked for one."""
    chosen = asked.loss_of(name)
    if said is None and (chosen is not None or name in asked.weights):
        said = _UNKNOWN
    if said is None or name not in asked.weights:
        return said
    return replace(said, weight=asked.weights[name])


def _task_of(
    output: Output, loss: str | None, targets: Array, look: Look | None
) -> tuple[OutputTask, list[str]]:
    """The task of one output with its loss, and what to say of it."""
    own = _own_task(output, loss, targets)
    if own is not None and own.kind == "own":
        return own, []
    task = read_targets(output, targets)
    remarks: list[str] = []
    if own is not None:
        # What its targets are is still known by the loss that they would have.
        task = replace(task, compiled=own.compiled, settings=f"{own.loss} in its place")
    elif loss is not None:
        _check_loss(loss, output.name, task.loss)
        task = replace(task, loss=loss)
    else:
        task, remarks = _as_compiled(output, task, targets, look)
    if "sparse" not in task.loss and own is None:
        remarks.append(check_range(output.name, targets, output.reach, task.loss))
    if output.compiled.from_logits and not output.bare and loss is None and output.of_classes:
        remarks.append(
            f"output '{output.name}' was compiled with from_logits=True but has passed a"
            f" {output.reach.by or output.reach.squashing}: its values are taken as probabilities"
        )
    return task, remarks


def _own_task(output: Output, loss: str | None, targets: Array) -> OutputTask | None:
    """The task of an output whose loss is not a plain one of Keras's; None for those.

    Of the kind "own" where targets mean something to that loss alone.
    """
    said = output.compiled
    if loss is not None and is_reference(loss):
        name, made = loss, own_loss(loss)
    elif loss in OTHER_SHAPES:
        name, made = str(loss), keras_loss(str(loss), False)
    elif loss is None and said.object is not None and not _is_plain(said):
        name, made = said.name, said.object
    else:
        return None
    plain = name not in OTHER_SHAPES and not is_for_distances(targets, output.shape, output.bare)
    if plain and _fits(output, targets):
        if loss is None:
            return None  # as compiled, where that works
        made = fitted(made, targets, output.shape, output.name)
        return OutputTask(output.name, "regression", name, "mae", compiled=made)
    try:
        made = fitted(made, targets, output.shape, output.name)
    except InputError:
        if loss is None and _fits(output, targets):
            return None  # answers of a teacher, not what the model was compiled for
        raise
    return OutputTask(output.name, "own", name, OTHER_SHAPES.get(name) or LOSS, compiled=made)


def _is_plain(said: CompiledLoss) -> bool:
    return is_keras_loss(said.object) and said.name not in OTHER_SHAPES


def _fits(output: Output, targets: Array) -> bool:
    """Whether targets can be read without the loss."""
    try:
        read_targets(output, targets)
    except InputError:
        return False
    return True


def _as_compiled(
    output: Output, task: OutputTask, targets: Array, look: Look | None
) -> tuple[OutputTask, list[str]]:
    """The task with the compiled loss, on logits or probabilities as the outputs themselves say."""
    said, remarks = output.compiled, []
    entropic = "crossentropy" in output.loss  # others, as a hinge, decide at 0
    if output.bare and entropic and said.from_logits is not True and look is not None:
        logits, remark = read_output(task, said.from_logits, look()[output.name])
        task = replace(task, logits=logits)
        remarks.append(remark)
    elif entropic and task.loss == "mse":
        task = replace(task, logits=output.logits)
    task, remark = with_compiled_loss(task, said, targets, output.shape)
    if task.loss == "mse":
        task = replace(task, logits=False)
    return task, [*remarks, remark]


def _by_output(targets: Nested, names: Sequence[str], counted: Sequence[bool]) -> list[Any]:
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


def _with_metrics(asked: Asked, outputs: Sequence[OutputTask], remarks: Sequence[str]) -> Task:
    """The task with the metrics that are asked for."""
    kept_remarks = tuple(filter(None, remarks))
    if asked.one_metric is not None:
        return Task(tuple(_with_metric(asked.one_metric, outputs)), asked.one_metric, kept_remarks)
    found, single = list(outputs), asked.metrics
    for output, metric in single.items():
        place = [o.name for o in found].index(output)
        found[place] = _with_metric(metric, [found[place]])[0]
    leading = next(iter(single), "")
    return Task(tuple(found), single.get(leading), kept_remarks, leading)


def _with_metric(metric: str, outputs: Sequence[OutputTask]) -> list[OutputTask]:
    """Outputs scored by a metric: those it is natural for, else those it fits.

    The others keep their own.
    """
    known = metric_of(metric)
    scored = [output for output in outputs if output.scored]
    if not scored:
        raise InputError(f"output '{outputs[0].name}' has no loss, so it has no metric")
    if not known.any_shape and not (scored := [o for o in scored if o.kind != "own"]):
        raise InputError(
            f"metric '{metric}' compares outputs with targets, but those of output"
            f" '{outputs[0].name}' mean something to its loss alone",
            "take loss, cer, wer or file.py:function",
        )
    fits = [o for o in scored if not (known.by_value and "sparse" in o.loss)]
    if not fits:
        raise InputError(
            f"metric '{metric}' compares values, but the targets of output '{outputs[0].name}' are"
            " class numbers",
            f"take {scored[0].metric}, or give one-hot targets",
        )
    if known.of_classes and not (fits := [o for o in fits if o.of_classes]):
        raise InputError(
            f"metric '{metric}' is of decisions, but the targets of output '{scored[0].name}' are"
            " values",
            f"take {scored[0].metric}, mse or r2",
        )
    taken = [o for o in fits if o.metric == metric] or fits
    return [replace(o, metric=metric) if o in taken else o for o in outputs]


def _check_loss(loss: str, name: str, inferred: str) -> None:
    """Refuse a loss that would compare class numbers with probabilities, or the reverse."""
    keras_loss(loss, False)
    if ("sparse" in loss.lower()) == (inferred == BY_NUMBER):
        return
    numbers = inferred == BY_NUMBER
    wants, has = ("values", "class numbers") if numbers else ("class numbers", "values")
    raise InputError(
        f"loss '{loss}' takes {wants}, but the targets of output '{name}' are {has}",
        f"take {inferred}" + (", or give one-hot targets" if numbers else ""),
    )
