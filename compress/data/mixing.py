"""What changed samples ask of a data set: targets that can be mixed, and repeatable draws."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgepress.compress.data.augmentation.batch import IMAGE_RANK, Batch
from edgepress.compress.data.augmentation.span import Span, span_of
from edgepress.compress.data.dataset import Source, Split
from edgepress.compress.data.inferring.target_reading import BY_NUMBER
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.data.preparation.targets import OneHot
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

_BATCH, _LOOKED_AT = 8, 64
_BY_SHARE = "categorical_crossentropy"


def for_mixed_samples(
    preparation: Preparation, task: Task, mixing: str, model: keras.Model
) -> tuple[Preparation, Task]:
    """Class numbers become shares of classes where training mixes samples.

    Args:
        preparation: What is done to samples.
        task: The task by class numbers.
        mixing: The change that mixes them; empty for none.
        model: The Keras model.

    Returns:
        Both for rows of shares; unchanged where targets can be mixed as they are.

    Raises:
        InputError: The loss takes class numbers and has no counterpart of shares.
    """
    output = task.outputs[0]
    moved = mixing == "cutmix" and task.kind == "image-to-image"
    if mixing and not moved and any(output.void is not None for output in task.outputs):
        raise InputError(
            f"augmentation '{mixing}' mixes labels, and ignore_label marks what has none",
            "leave one of them out",
        )
    if not mixing or task.kind != "classification" or "sparse" not in output.loss:
        return preparation, task
    if output.loss != BY_NUMBER or output.compiled is not None:
        raise InputError(
            f"augmentation '{mixing}' gives shares of classes, and the model was compiled with"
            f" {output.text()}",
            f"pass --loss {BY_NUMBER} to train by the plain one",
        )
    shares = dataclasses.replace(output, loss=_BY_SHARE)
    classes = int(model.outputs[0].shape[-1])
    return (
        dataclasses.replace(preparation, targets=OneHot(classes)),
        dataclasses.replace(task, outputs=(shares,)),
    )


def span_in(source: Source, preparation: Preparation) -> Span:
    """Black and white of a source's images, as a model sees them.

    Args:
        source: Where they come from.
        preparation: What is done to them.
    """
    inputs = next(source.batches(None, _LOOKED_AT).as_numpy_iterator())[0]
    values = [v for v in inputs.values() if v.ndim == IMAGE_RANK]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    return span_of(preparation, float(low), float(high))


def check_own_changes(split: Split) -> None:
    """Try functions of the user's on the first samples of a split.

    Raises:
        InputError: One fails, or doesn't follow from its seed.
    """
    inputs, targets = next(iter(split.source.batches(None, _BATCH).map(split.preparation)))
    for own in split.augmentation.own:
        own.check(Batch(inputs, targets))
