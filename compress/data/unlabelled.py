"""Data without labels: a teacher's answers stand in for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.output_range import reach_of
from edgepress.compress.data.metrics.counts import decided
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.labels import as_array
from edgepress.compress.data.tasks import output_names
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import plain_name

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

_BATCH = 256
_SUFFIXES = ("", "_train", "_val", "_valid", "_validation", "_test")


def with_placeholders(
    arrays: Mapping[str, Any], model: keras.Model
) -> tuple[dict[str, Any], set[str]]:
    """Arrays with targets of zero where inputs have none.

    Args:
        arrays: By names such as `x_train`, `x_train__NAME`.
        model: Says what targets look like.

    Returns:
        The arrays, and the suffixes ("_train", …) whose targets are made up.
    """
    found = dict(arrays)
    made: set[str] = set()
    for suffix in _SUFFIXES:
        inputs = [n for n in arrays if n.partition("__")[0] == f"x{suffix}"]
        if inputs and not any(n.partition("__")[0] == f"y{suffix}" for n in arrays):
            size = len(as_array(arrays[inputs[0]], f"inputs '{inputs[0]}'"))
            for name, tensor in zip(output_names(model), model.outputs, strict=True):
                shape = tuple(n or 1 for n in tensor.shape[1:])
                key = f"y{suffix}" if len(model.outputs) == 1 else f"y{suffix}__{name}"
                found[key] = np.zeros((size, *shape), np.float32)
            made.add(suffix)
    return found, made


def answered(
    sources: Mapping[str, Any],
    keep: set[str],
    teacher: keras.Model,
    preparation: Preparation,
    loss: str | None,
) -> dict[str, Any]:
    """Sources whose targets are a teacher's answers.

    Classes are the teacher's first choice, values are its values.

    Args:
        sources: By split.
        keep: Splits that keep their own targets.
        teacher: A Keras model.
        preparation: What is done to inputs before the model sees them.
        loss: The loss that was asked for; says whether outputs without an activation are classes.

    Returns:
        The sources by split.

    Raises:
        InputError: Samples don't lie in memory.
    """
    found = {}
    for split, source in sources.items():
        if not isinstance(source, ArraySource):
            raise InputError(
                "data without labels must be arrays", "give a .npz file, or a mapping of them"
            )
        targets = _answers(source, teacher, preparation, loss)
        found[split] = source if split in keep else dataclasses.replace(source, targets=targets)
    return found


def _answers(
    source: ArraySource, teacher: keras.Model, preparation: Preparation, loss: str | None
) -> Nested:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run(inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        value = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        return tf.nest.flatten(teacher(value, training=False))

    passed = [reach_of(tensor).squashing for tensor in teacher.outputs]
    parts = [
        [_decided(o.numpy(), p, loss) for o, p in zip(run(inputs), passed, strict=True)]
        for inputs, _ in source.batches(None, _BATCH).map(preparation)
    ]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if len(joined) == 1:
        return joined[0]
    return dict(zip(output_names(teacher), joined, strict=True))


def _decided(output: NDArray[Any], passed: str, loss: str | None) -> NDArray[Any]:
    """Class numbers or yes and no of one output, or its values where it has no classes."""
    logits = not passed and "crossentropy" in plain_name(loss or "")
    several = output.ndim > 1 and output.shape[-1] > 1
    if several and (passed == "softmax" or (logits and "binary" not in plain_name(loss or ""))):
        return output.argmax(-1)
    if passed or logits:
        return decided(output, logits).astype(np.int64)
    return output


def agreement(labelled: Collection[str]) -> tuple[str, ...]:
    """What figures mean where a teacher's answers stand in for labels.

    Args:
        labelled: Splits whose own labels are kept.
    """
    if labelled:
        return ("labels are used to measure on the test split only",)
    return ("without labels, figures say how far a model agrees with its teacher",)
