"""What a model is asked to do on some data: as it is asked for, else as the targets say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.augmentation.augmenting import Augmentation
from edgepress.compress.data.dataset import Source, Split
from edgepress.compress.data.inferring.asked import Asked, by_output, loss_weights
from edgepress.compress.data.inferring.box_task import boxes_task
from edgepress.compress.data.inferring.output_range import reach_of
from edgepress.compress.data.inferring.output_reading import Seen
from edgepress.compress.data.inferring.target_range import RUNS
from edgepress.compress.data.inferring.task_inference import infer_task
from edgepress.compress.data.inferring.telling_metric import with_telling_metric
from edgepress.compress.data.inferring.void_labels import refuse_absent
from edgepress.compress.data.metrics import with_class_number
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.boxes.source import BoxSource
from edgepress.compress.data.readers.images.folders import ImageSource
from edgepress.compress.data.readers.streams import StreamSource
from edgepress.compress.data.tasks import Task, output_names
from edgepress.compress.models.user_code import is_reference
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Nested


Array = NDArray[Any]

# Samples on which outputs are looked at where their values decide.
_LOOKED_AT = 512


def plain_loss(spec: DataSpec) -> str | None:
    """The loss that was asked for where it is one of Keras's for all outputs, else None."""
    loss = by_output(spec.loss, "loss")
    return loss if isinstance(loss, str) and not is_reference(loss) else None


def reads_targets(model: keras.Model, source: Source | None, spec: DataSpec) -> bool:
    """Whether targets mean something to more than a loss, so that they are measured by."""
    if not isinstance(source, ArraySource):
        return True
    ignored = by_output(spec.ignore_label, "ignore_label")
    task = infer_task(model, source.targets, by_output(spec.loss, "loss"), ignored=ignored)
    return all(output.kind != "own" for output in task.outputs)


def task_of(
    model: keras.Model,
    sources: dict[str, Source],
    spec: DataSpec,
    preparation: Preparation,
    classes: Sequence[str],
) -> Task:
    """The task of a model on data; where targets lie in memory, those of every split are checked.

    Args:
        model: A built Keras model.
        sources: The samples by split.
        spec: What is asked for.
        preparation: What is done to inputs before the model sees them.
        classes: Names of the classes, where the data has them.

    Raises:
        InputError: Targets don't fit the model, or what is asked for doesn't fit them.
    """
    loss = plain_loss(spec) if spec.unlabelled else by_output(spec.loss, "loss")
    metric = by_output([with_class_number(m, classes) for m in spec.metric], "metric")
    weights, ignored = loss_weights(spec.loss_weight), by_output(spec.ignore_label, "ignore_label")
    boxes = [source.boxes for source in sources.values() if isinstance(source, BoxSource)]
    if boxes:
        return boxes_task(model, boxes[0], Asked(loss, metric, weights, ignored))
    reaches = [reach_of(tensor) for tensor in model.outputs]
    first = Split("first", next(iter(sources.values())), preparation, Augmentation())
    look = functools.cache(lambda: _seen(model, first))
    given = [_some_targets(source, preparation) for source in sources.values()]
    tasks = [
        infer_task(model, targets, loss, metric, reaches, look, weights, ignored)
        for targets in given
    ]
    if not any(isinstance(source, StreamSource) for source in sources.values()):
        refuse_absent(ignored, [_with_void(tasks[0], targets) for targets in given])
    tasks[0] = tasks[0] if metric else with_telling_metric(tasks[0], given[0])
    said: dict[str, str] = {}
    for remark in (remark for task in tasks for remark in task.remarks):
        # Of each split the same is said with figures of its own.
        said.setdefault(remark.partition(RUNS)[0], remark)
    return dataclasses.replace(tasks[0], remarks=tuple(said.values()))


def _with_void(task: Task, targets: Nested) -> dict[str, Array]:
    """Targets of outputs that leave a label out, by name."""
    parts = zip(task.outputs, task.target_list(targets), strict=True)
    return {o.name: np.asarray(t) for o, t in parts if o.void is not None and t is not None}


def _seen(model: keras.Model, split: Split) -> dict[str, Seen]:
    """What each output gives to some samples, with their targets."""
    import keras

    inputs, targets = split.sample(_LOOKED_AT, 0)
    given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    names = output_names(model)
    if isinstance(targets, list | tuple):
        targets = dict(zip(names, targets, strict=False))
    elif not isinstance(targets, Mapping):
        targets = dict.fromkeys(names, targets)
    outputs = keras.tree.flatten(model.predict(given, verbose=0, batch_size=64))
    return {
        name: Seen(np.asarray(output), np.asarray(targets[name]))
        for name, output in zip(names, outputs, strict=True)
        if name in targets
    }


def _some_targets(source: Source, preparation: Preparation) -> Nested:
    """Prepared targets of a split: all in memory, or those of a first batch."""
    if preparation.targets is None:
        if isinstance(source, ArraySource):
            return source.targets
        labels = source.labels()
        if labels is not None:
            return labels
    # Of masks, those that show every class.
    shown = source.showing if isinstance(source, ImageSource) else ()
    batches = source.batches(np.asarray(shown) if shown else None, 256)
    return next(batches.map(preparation).as_numpy_iterator())[1]
