"""A teacher asked once for each sample, where every epoch shows it the same samples.

The teacher's pass is two fifths of a step that trains a network of half its size.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, Split
from edgepress.compress.training.loop.steps import Objective, flat
from edgepress.compress.training.teacher.distillation import answers

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

# What the answers to all samples may take of the memory.
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class TaughtSplit(Split):
    """A split whose training batches carry the teacher's answers beside the targets.

    Attributes:
        answers: For each output of the task, (samples, …) in stored order.
    """

    answers: tuple[NDArray[np.float32], ...] = ()

    def epoch(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        augment: bool = True,
        skip_batches: int = 0,
    ) -> tf.data.Dataset:
        """As `Split.epoch`; targets are pairs of the targets and the answers."""
        import tensorflow as tf

        batches = super().epoch(batch_size, seed, epoch, augment, skip_batches)
        stored = [tf.constant(part) for part in self.answers]
        chosen = tf.data.Dataset.from_tensor_slices(self.order(seed, epoch)).batch(batch_size)
        taught = chosen.skip(skip_batches).map(
            lambda rows: tuple(tf.gather(part, rows) for part in stored)
        )
        return tf.data.Dataset.zip(batches, taught).map(
            lambda batch, answer: (batch[0], (batch[1], answer), *batch[2:])
        )


def with_known_answers(dataset: Dataset, objective: Objective) -> tuple[Dataset, Objective]:
    """Ask a training's teacher beforehand, where that saves asking and gives the same.

    It does where samples come unchanged in each of several epochs, and only the teacher's outputs
    are learned. Answers are then the same to float rounding, whatever the order of the samples.

    Args:
        dataset: What is trained on.
        objective: What is minimised.

    Returns:
        Both, with the answers; or both as they are.
    """
    split, teacher = dataset.training_split, objective.teacher
    if teacher is None or objective.own is not None or objective.spec.epochs < 2:
        return dataset, objective
    if type(split) is not Split or not hasattr(split.source, "part") or split.augmentation.changes:
        return dataset, objective
    shapes = [output.shape[1:] for output in teacher.outputs]
    if any(None in shape for shape in shapes):
        return dataset, objective
    if 4 * split.size * sum(int(np.prod(shape)) for shape in shapes) > _MOST_BYTES:
        return dataset, objective
    asked = TaughtSplit(
        split.name, split.source, split.preparation, split.augmentation, _ask(split, objective)
    )
    return dataclasses.replace(dataset, train=asked), dataclasses.replace(objective, known=True)


def _ask(split: Split, objective: Objective) -> tuple[NDArray[np.float32], ...]:
    import tensorflow as tf

    batches = split.in_order(objective.spec.batch_size)

    @tf.function(input_signature=(batches.element_spec[0],), autograph=False)
    def ask(inputs: Nested) -> tuple[tf.Tensor, ...]:
        return tuple(answers(objective.task, flat(objective.teacher(inputs, training=False))))

    parts = [[part.numpy() for part in ask(inputs)] for inputs, _ in batches]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
