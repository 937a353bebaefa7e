"""A loss taken place by place, so that some places count more, less or not at all.

A place is what one label is for: a sample, a pixel, a step, or one label of several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    # A loss object, or a function that gives a value for each place.
    Loss: TypeAlias = keras.losses.Loss | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Losses of Keras that are a mean over the labels of a place, each taken for itself.
ELEMENTWISE = (
    "binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge", "mse", "mae",
    "huber", "log_cosh",
)  # fmt: skip
# Losses of overlaps, which an empty place takes no part in.
OVERLAPS = ("Dice", "Tversky")


@dataclass(frozen=True)
class VoidLabel:
    """The label that marks places without a class.

    Attributes:
        value: The label.
        by: Who leaves such places out: "places" where the loss has a value for each place,
            "overlap" where it is one of overlaps, "itself" where a loss of the user's own gets the
            label as the data has it.
    """

    value: int
    by: Literal["places", "overlap", "itself"] = "places"

    def counting(self, target: Any) -> Any:
        """Which places count, of a NumPy array or a tensor of targets."""
        return target != self.value

    def replaced(self, target: tf.Tensor) -> tf.Tensor:
        """The targets, a tensor, with 0 in places that don't count."""
        import tensorflow as tf

        return tf.where(self.counting(target), target, tf.zeros_like(target))


@dataclass(frozen=True)
class Places:
    """A target and an output, place by place.

    Attributes:
        target: As the loss takes it.
        output: As the loss takes it.
        kept: (batch, …) 1 for places that count and 0 for others, or None where all count.
        shape: Of the places.
    """

    target: tf.Tensor
    output: tf.Tensor
    kept: tf.Tensor | None
    shape: Any


def places_of(
    target: tf.Tensor, output: tf.Tensor, void: VoidLabel | None, numbered: bool, single: bool
) -> Places:
    """A batch as places.

    Args:
        target: (batch, …) class numbers, or labels in the output's shape.
        output: (batch, …, classes or labels).
        void: Marks places that don't count, or None.
        numbered: Whether targets are class numbers.
        single: Whether the loss is to be taken of each of several labels for itself, which else
            it does by itself.
    """
    import tensorflow as tf

    shape = tf.shape(output)[:-1] if numbered else tf.shape(output)
    target = tf.reshape(target, shape)
    target.set_shape(output.shape[:-1] if numbered else output.shape)
    kept = None
    if void is not None:
        kept = tf.cast(void.counting(target), tf.float32)
        target = void.replaced(target)
    if numbered:
        return Places(target, output, kept, target.shape)
    if single:
        return Places(target[..., None], output[..., None], kept, target.shape)
    if output.shape[-1] != 1:
        return Places(target, output, kept, target.shape)
    kept = None if kept is None else tf.squeeze(kept, -1)
    return Places(target, output, kept, target.shape[:-1])


def loss_values(loss: Loss, target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """The values of a loss before they become one number, float32."""
    import keras
    import tensorflow as tf

    if isinstance(loss, keras.losses.Loss):
        target = tf.cast(target, tf.float32)
    return tf.cast(getattr(loss, "call", loss)(target, output), tf.float32)


class HasPlaces(Protocol):
    """What an output is asked for."""

    def places(self, target: tf.Tensor, output: tf.Tensor) -> Places:
        """A batch as its loss takes it."""

    def keras_loss(self) -> keras.losses.Loss:
        """Its loss."""


def has_values(task: HasPlaces, target: tf.Tensor, output: tf.Tensor) -> bool:
    """Whether a loss has a value for each place.

    Args:
        task: What the output is asked for.
        target: (samples, …) tensor.
        output: (samples, …) tensor of what it may give.
    """
    places = task.places(target, output)
    try:
        found = loss_values(task.keras_loss(), places.target, places.output)
    except Exception:  # whatever a loss says to targets that it isn't made for
        return False
    has, needs = tuple(found.shape), tuple(places.shape)
    return has in (needs, (*needs, 1))


def loss_by_place(loss: Loss, places: Places, weights: tf.Tensor | None = None) -> tf.Tensor:
    """The loss of a batch: the mean over the places that count, or their sum where it is summed.

    Args:
        loss: A Keras loss, or one that has a value for each place.
        places: The batch.
        weights: (batch, …) what each sample or place counts, or None.
    """
    import tensorflow as tf
    from keras.src.losses.loss import reduce_weighted_values

    values = loss_values(loss, places.target, places.output)
    kept = places.kept
    if kept is not None and values.shape.rank == kept.shape.rank + 1:
        values = tf.squeeze(values, -1)
    if weights is not None:
        weights = tf.cast(weights, tf.float32)
        missing = [1] * (values.shape.rank - weights.shape.rank)
        weights = tf.ones_like(values) * tf.reshape(
            weights, tf.concat([tf.shape(weights), missing], 0)
        )
    reduction = getattr(loss, "reduction", "sum_over_batch_size")
    reduction = "sum" if reduction in ("none", None) else reduction
    return reduce_weighted_values(values, sample_weight=weights, mask=kept, reduction=reduction)


def loss_of_overlap(
    loss: keras.losses.Loss,
    target: tf.Tensor,
    output: tf.Tensor,
    void: VoidLabel,
    numbered: bool,
    weights: tf.Tensor | None,
) -> tf.Tensor:
    """A loss of overlaps in which places without a label are empty on both sides.

    Args:
        loss: Takes labels in the output's shape, or class numbers, of which -1 is none.
        target: (batch, …).
        output: (batch, …, classes).
        void: Marks places that don't count.
        numbered: Whether targets are class numbers.
        weights: As the loss takes them.
    """
    import tensorflow as tf

    kept = void.counting(target)
    target = tf.where(kept, tf.cast(target, tf.int32), -1 if numbered else 0)
    place = tf.reshape(kept, tf.concat([tf.shape(output)[:-1], [-1]], 0))
    return loss(target, output * tf.cast(place, output.dtype), sample_weight=weights)
