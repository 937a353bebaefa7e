"""Learning from a teacher's outputs beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepress.compress.data import Task
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.data.output_task import OutputTask

_SMALLEST = 1e-30


def check_teacher(teacher: keras.Model, model: keras.Model) -> None:
    """Refuse a teacher whose inputs or outputs differ in shape from the model's.

    Raises:
        InputError: They differ.
    """
    for side in ("inputs", "outputs"):
        own = [tuple(t.shape[1:]) for t in getattr(model, side)]
        other = [tuple(t.shape[1:]) for t in getattr(teacher, side)]
        if own != other:
            raise InputError(
                f"the teacher's {side} have the shapes {other}, the model's {own}",
                "a teacher is a model for the same task, such as the one before pruning",
            )


def distillation_loss(
    task: Task, outputs: Sequence[tf.Tensor], targets: Sequence[tf.Tensor], temperature: float
) -> tf.Tensor:
    """How far a model's outputs are from its teacher's, mean over samples.

    Classification: `T**2 * KL(teacher_T || model_T)`, both softened by the temperature T; the
    factor keeps the gradient's size independent of T. Binary and multi-label outputs are treated as
    a softened pair (yes, no) each. All else: mean squared error of the outputs.

    Args:
        task: Says for each output what it is and whether it comes before its softmax or sigmoid.
        outputs: The model's, one (batch, …) tensor for each output.
        targets: The teacher's, likewise.
        temperature: Above 0; larger values soften more.

    Returns:
        A scalar tensor, the sum over outputs.

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015).
    """
    return distance(task, outputs, answers(task, targets), temperature)


def answers(task: Task, targets: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """What the distance from a teacher needs of the teacher's outputs.

    Args:
        task: As for `distillation_loss`.
        targets: As for `distillation_loss`.

    Returns:
        For each output a (batch, …) tensor: logits of classes and of pairs, else the output.
    """
    needed = {"softmax": _class_logits, "sigmoid": _binary_logits}
    return [
        needed[kind](target, asked.logits) if (kind := _kind(asked)) in needed else target
        for asked, target in zip(task.outputs, targets, strict=True)
    ]


def distance(
    task: Task, outputs: Sequence[tf.Tensor], taught: Sequence[tf.Tensor], temperature: float
) -> tf.Tensor:
    """As `distillation_loss`, of what `answers` gave, be it now or earlier."""
    parts = []
    for asked, output, answer in zip(task.outputs, outputs, taught, strict=True):
        if (kind := _kind(asked)) == "softmax":
            parts.append(_softmax_loss(_class_logits(output, asked.logits), answer, temperature))
        elif kind == "sigmoid":
            parts.append(_sigmoid_loss(_binary_logits(output, asked.logits), answer, temperature))
        else:
            parts.append(_matching_loss(output, answer))
    return sum(parts)


def _kind(asked: OutputTask) -> str:
    """How an output is compared."""
    if "categorical" in asked.loss and "crossentropy" in asked.loss:
        return "softmax"
    if "crossentropy" in asked.loss and asked.kind != "image-to-image":
        return "sigmoid"
    return "matching"


def _softmax_loss(output: tf.Tensor, target: tf.Tensor, temperature: float) -> tf.Tensor:
    import tensorflow as tf

    student = tf.nn.log_softmax(output / temperature)
    teacher = tf.nn.log_softmax(target / temperature)
    divergence = tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
    return temperature**2 * tf.reduce_mean(divergence)


def _class_logits(output: tf.Tensor, logits: bool) -> tf.Tensor:
    """Logits up to a constant; a softmax's input where Keras remembers it, else its logarithm."""
    import tensorflow as tf

    if logits:
        return output
    remembered = getattr(output, "_keras_logits", None)
    return tf.math.log(tf.maximum(output, _SMALLEST)) if remembered is None else remembered


def _sigmoid_loss(output: tf.Tensor, target: tf.Tensor, temperature: float) -> tf.Tensor:
    import tensorflow as tf

    student, teacher = output / temperature, target / temperature
    soft = tf.sigmoid(teacher)
    cross = tf.nn.sigmoid_cross_entropy_with_logits(soft, student)
    own = tf.nn.sigmoid_cross_entropy_with_logits(soft, teacher)
    return temperature**2 * tf.reduce_mean(cross - own)


def _binary_logits(output: tf.Tensor, logits: bool) -> tf.Tensor:
    import tensorflow as tf

    if logits:
        return output
    remembered = getattr(output, "_keras_logits", None)
    if remembered is not None:
        return remembered
    inside = tf.clip_by_value(output, 1e-6, 1 - 1e-6)
    return tf.math.log(inside) - tf.math.log1p(-inside)


def _matching_loss(output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.reduce_mean(tf.math.squared_difference(output, target))
