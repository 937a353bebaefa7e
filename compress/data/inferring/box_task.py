"""The task of a detector: boxes mean something to its own loss and to the metric of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.asked import Asked
from edgepress.compress.data.inferring.own_losses import NoLoss, fitted, own_loss
from edgepress.compress.data.metrics import LOSS, metric_of
from edgepress.compress.data.metrics.boxes import (
    BOXES,
    DETECTION,
    are_boxes_and_scores,
    takes,
)
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task, output_names
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import CompiledLoss, compiled_losses
from edgepress.compress.models.loss_objects import is_keras_loss
from edgepress.compress.models.user_code import is_reference

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]
_UNKNOWN = CompiledLoss("")


def boxes_task(model: keras.Model, boxes: Array, asked: Asked) -> Task:
    """The task of a model on boxes.

    An output is trained by the loss that is asked for, else by one of the user's own that it was
    compiled with, and scored by the metric that is asked for, else by `map` where it gives
    detections, else by its loss. One with neither is left out.

    Args:
        model: A built Keras model.
        boxes: (samples, most, 5 or 6) of some samples.
        asked: Losses, metrics and weights.

    Raises:
        InputError: The loss fails on boxes, a metric isn't of boxes, or nothing is left to train or
            to measure.
    """
    names = output_names(model)
    asked.check(names)
    if asked.ignored is not None:
        raise InputError("ignore_label is for classes, and the targets are boxes", "leave it out")
    compiled = compiled_losses(model, names) or (_UNKNOWN,) * len(names)
    found = [
        _output(name, tuple(tensor.shape[1:]), boxes, asked, said or _UNKNOWN)
        for name, tensor, said in zip(names, model.outputs, compiled, strict=True)
    ]
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in model.outputs)
    joint = _joint(asked, shapes)
    if joint:
        found = [
            replace(output, metric=LOSS, weight=output.weight * (output.loss != "none"))
            for output in found
        ]
        # An output without a loss would have to be trained if it were scored.
        place = next((n for n, output in enumerate(found) if output.scored), 0)
        leads = found[place]
        found[place] = replace(leads, metric=joint, joint=shapes, weight=leads.weight or 1.0)
    if not any(output.scored for output in found):
        raise InputError(
            f"the data holds boxes, and no output gives detections (count, {DETECTION}) or has a"
            " loss of its own",
            "give --metric map:file.py:function to measure (a function of all outputs, or of one),"
            " --loss file.py:function to train",
        )
    idle = [output.name for output in found if not (output.scored or joint)]
    remarks = [f"output '{name}' has no loss: it is neither trained nor scored" for name in idle]
    leading = next(iter(asked.metrics), "")
    headline = asked.one_metric or asked.metrics.get(leading)
    return Task(tuple(found), headline, tuple(remarks), leading)


def _joint(asked: Asked, shapes: Sequence[tuple[int | None, ...]]) -> str:
    """The metric that takes all outputs together; empty where each has its own."""
    metric = asked.one_metric
    if metric is None:
        return ""
    if metric in BOXES:
        return metric if are_boxes_and_scores(shapes) else ""
    return metric if takes(metric, len(shapes)) else ""


def _output(
    name: str, shape: Sequence[int | None], boxes: Array, asked: Asked, said: CompiledLoss
) -> OutputTask:
    loss, made = _loss(name, shape, boxes, asked, said)
    detects = len(shape) == 2 and shape[-1] == DETECTION
    metric = asked.metrics.get(name) or asked.one_metric or ("map" if detects else LOSS)
    if not metric_of(metric).any_shape:
        raise InputError(
            f"metric '{metric}' doesn't compare boxes",
            f"take {', '.join(BOXES)}, or {LOSS}, or file.py:function",
        )
    nothing = isinstance(made, NoLoss) and (metric == LOSS or not (detects or ":" in metric))
    weight = 0.0 if nothing else asked.weights.get(name, 1.0)
    return OutputTask(name, "own", loss, metric, weight=weight, compiled=made)


def _loss(
    name: str, shape: Sequence[int | None], boxes: Array, asked: Asked, said: CompiledLoss
) -> tuple[str, Any]:
    """Name of the loss of an output, and what computes it."""
    chosen = asked.loss_of(name)
    if chosen is not None:
        if not is_reference(chosen):
            raise InputError(
                f"loss '{chosen}' doesn't take boxes", "give --loss file.py:function of your own"
            )
        return chosen, fitted(own_loss(chosen), boxes, shape, name)
    if said.object is not None and not is_keras_loss(said.object):
        return said.name, fitted(said.object, np.asarray(boxes), shape, name)
    return "none", NoLoss()
