"""The compiled loss in place of the inferred one, wherever the targets are what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.models.compiled_losses import CompiledLoss
from edgepress.compress.models.loss_objects import (
    is_keras_loss,
    is_summed,
    settings_of,
    with_logits,
)

if TYPE_CHECKING:
    import tensorflow as tf

Array = NDArray[Any]


@dataclass(frozen=True)
class OnClassNumbers:
    """A loss that takes one row for each class, given class numbers.

    Attributes:
        loss: Takes (batch, …, classes) targets.
    """

    loss: Any

    @property
    def reduction(self) -> str:
        """As a Keras loss says it."""
        return str(self.loss.reduction)

    def __call__(
        self, target: tf.Tensor, output: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss of a batch.

        Args:
            target: (batch, …) class numbers.
            output: (batch, …, classes).
            sample_weight: (batch, …) or None.
        """
        return self.loss(_rows(target, output), output, sample_weight=sample_weight)

    def call(self, target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """The losses before they become one number; arguments as above."""
        return self.loss.call(_rows(target, output), output)


def _rows(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """A row for each class number, of zeros for -1."""
    import tensorflow as tf

    numbers = tf.reshape(tf.cast(target, tf.int32), tf.shape(output)[:-1])
    return tf.one_hot(numbers, output.shape[-1], dtype=output.dtype)


@dataclass(frozen=True)
class Summed:
    """A loss of the user's own whose values for single samples are summed up.

    Attributes:
        loss: Gives (batch, …) losses, or their sum.
        reduction: As a Keras loss says it.
    """

    loss: Any
    reduction: str = "sum"

    def __call__(
        self, target: tf.Tensor, output: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss of a batch.

        Args:
            target: (batch, …).
            output: (batch, …).
            sample_weight: (batch, …) or None.
        """
        import tensorflow as tf

        return tf.reduce_sum(self.loss(target, output, sample_weight=sample_weight))

    def call(self, target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """The losses before they are summed up; arguments as above."""
        import tensorflow as tf

        return self.loss.call(tf.cast(target, tf.float32), output)


def with_compiled_loss(
    task: OutputTask, said: CompiledLoss, targets: Array, shape: Sequence[int | None]
) -> tuple[OutputTask, str]:
    """The task of an output, to be trained by the loss that it was compiled with.

    Args:
        task: As the targets alone say.
        said: What it was compiled with.
        targets: (samples, …) of it.
        shape: Of one sample of the output.

    Returns:
        The task, and a remark where another loss than the compiled one is taken, or empty.
    """
    if not said.name:
        return task, ""
    where = f"output '{task.name}' was compiled with {said.name}"
    if said.object is None:
        return task, (
            f"{where}, which can't be rebuilt: {task.loss} is taken in its place; give the file"
            " that defines it with --custom-objects, or a loss with --loss"
        )
    found = _own(task, said) if not is_keras_loss(said.object) else _of_keras(task, said)
    if found is None:
        return task, f"{where}, which doesn't fit its targets: {task.loss} is taken in its place"
    problem = _problem(found, targets, shape)
    if problem:
        return task, f"{where}, which fails ({problem}): {task.loss} is taken in its place"
    if said.unsaved and found.compiled is None and found.loss == said.name:
        return found, f"{where}, of which Keras saves no {said.unsaved}: its default is taken"
    return found, ""


def _own(task: OutputTask, said: CompiledLoss) -> OutputTask:
    summed = is_summed(said.object)
    loss = Summed(said.object) if summed else said.object
    replaced = f"the compiled {said.name}{', summed up,' * summed} in its place"
    return replace(task, compiled=loss, settings=replaced)


def _of_keras(task: OutputTask, said: CompiledLoss) -> OutputTask | None:
    """The task with a loss of Keras's own; None where targets aren't what that takes."""
    wants, has = _takes(said.name), _takes(task.loss)
    settings = settings_of(said.object)
    options = ", ".join(f"{name}={value}" for name, value in settings.items())
    own = with_logits(said.object, task.logits)
    if wants == "class numbers":
        if has != wants:
            # Without settings the same loss, taken on one-hot rows.
            return task if not settings and has == "rows of classes" else None
        return replace(task, compiled=own if settings else None, settings=options)
    if has == "class numbers":
        if said.name == "categorical_crossentropy" and not settings:
            return task
        named = ", ".join(filter(None, (f"the compiled {said.name}", options)))
        return replace(task, compiled=OnClassNumbers(own), settings=f"{named} in its place")
    if wants == "rows of classes" and task.kind == "binary":
        return None
    return replace(task, loss=said.name, compiled=own if settings else None, settings=options)


def _takes(loss: str) -> str:
    """What targets a loss of Keras's takes, by its name."""
    if loss.startswith("sparse"):
        return "class numbers"
    if loss.startswith("categorical"):
        return "rows of classes"
    return "yes and no" if loss.startswith("binary") else "values"


def _problem(task: OutputTask, targets: Array, shape: Sequence[int | None]) -> str:
    """Why a loss can't be taken of some targets; empty where it can."""
    if task.compiled is None:
        return ""
    few = np.asarray(targets)[:2]
    inner = (*few.shape[1:], *shape[few.ndim - 1 :])
    sizes = [i if s is None else s for s, i in zip(shape, inner, strict=False)]
    try:
        import tensorflow as tf

        outputs = tf.fill((len(few), *sizes), 1 / max(sizes[-1] if sizes else 1, 2))
        task.compiled(tf.convert_to_tensor(few), tf.cast(outputs, tf.float32))
    except Exception as error:  # whatever a loss says to targets that it isn't made for
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0][:120]
    return ""
