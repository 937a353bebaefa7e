"""Changes of images and sequences that no layer of Keras is needed for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgepress.compress.data.augmentation.boxes import Boxes
from edgepress.compress.kernel.registry import Table

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested


class Change(Protocol):
    """Changes one batch of inputs and, where they are images too, its targets."""

    def __call__(
        self, inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
    ) -> tuple[Any, Any]:
        """Give the changed batch.

        Args:
            inputs: (batch, height, width, channels) tensor.
            targets: Tensor of the same height and width, boxes, or None where targets are neither.
            amount: The number after the colon; its meaning is the change's own.
            seed: (2,) tensor for TensorFlow's stateless random functions.
        """


def flip(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Mirror each image left to right with probability `amount`."""
    return _mirror(inputs, targets, amount, seed, axis=2)


def flip_vertical(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Mirror each image top to bottom with probability `amount`."""
    return _mirror(inputs, targets, amount, seed, axis=1)


def _mirror(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor, axis: int
) -> tuple[Any, Any]:
    import tensorflow as tf

    chosen = tf.random.stateless_uniform([tf.shape(inputs)[0], 1, 1, 1], seed) < amount

    def mirrored(images: tf.Tensor) -> tf.Tensor:
        return tf.where(chosen, tf.reverse(images, [axis]), images)

    if isinstance(targets, Boxes):
        return mirrored(inputs), targets.mirrored(chosen, axis)
    return mirrored(inputs), None if targets is None else mirrored(targets)


def crop(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Shift each image by up to `amount` pixels each way, its border reflected.

    With boxes the border is dark: what is reflected would be shown twice, and boxed once.
    """
    import tensorflow as tf

    reach = int(amount)
    shape = tf.shape(inputs)
    shifts = tf.random.stateless_uniform([2, shape[0]], seed, 0, 2 * reach + 1, tf.int32)
    rows = shifts[0][:, None] + tf.range(shape[1])[None]
    columns = shifts[1][:, None] + tf.range(shape[2])[None]

    def shifted(images: tf.Tensor) -> tf.Tensor:
        around = [[0, 0], [reach, reach], [reach, reach], [0, 0]]
        if isinstance(targets, Boxes):
            padded = tf.pad(images, around, constant_values=tf.reduce_min(images))
        else:
            padded = tf.pad(images, around, "REFLECT")
        kept = tf.gather(padded, rows, axis=1, batch_dims=1)
        wide = tf.gather(kept, columns, axis=2, batch_dims=1)
        return tf.ensure_shape(wide, images.shape)

    if isinstance(targets, Boxes):
        by = [tf.cast(reach - s, tf.float32) / tf.cast(n, tf.float32)
              for s, n in zip(tf.unstack(shifts), tf.unstack(shape[1:3]), strict=True)]  # fmt: skip
        return shifted(inputs), targets.shifted(*by)
    return shifted(inputs), None if targets is None else shifted(targets)


def brightness(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Add to each image up to `amount` times the batch's range."""
    import tensorflow as tf

    reach = amount * (tf.reduce_max(inputs) - tf.reduce_min(inputs))
    shift = tf.random.stateless_uniform([tf.shape(inputs)[0], 1, 1, 1], seed, -1.0, 1.0)
    return inputs + shift * reach, targets


def contrast(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Stretch each image about its mean by a factor between 1 - `amount` and 1 + `amount`."""
    import tensorflow as tf

    mean = tf.reduce_mean(inputs, [1, 2, 3], keepdims=True)
    factor = tf.random.stateless_uniform(
        [tf.shape(inputs)[0], 1, 1, 1], seed, 1 - amount, 1 + amount
    )
    return (inputs - mean) * factor + mean, targets


def noise(
    inputs: Mapping[str, tf.Tensor], targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Add Gaussian noise with a deviation of `amount` times the batch's range."""
    import tensorflow as tf

    reach = amount * (tf.reduce_max(inputs) - tf.reduce_min(inputs))
    return inputs + reach * tf.random.stateless_normal(tf.shape(inputs), seed), targets


def spec_augment(
    inputs: tf.Tensor, targets: Nested, amount: float, seed: tf.Tensor
) -> tuple[Any, Any]:
    """Mask two stretches of time and two of bands, each up to `amount` of its axis.

    Masked places get the sample's mean. Source: Park et al. 2019, SpecAugment, without warping.
    """
    import tensorflow as tf

    batch, rank = tf.shape(inputs)[0], inputs.shape.rank
    masked = tf.zeros(tf.shape(inputs)[:3], tf.bool)
    for number, axis in enumerate((1, 1, 2, 2)):
        here = tf.random.experimental.stateless_fold_in(seed, number)
        length = tf.shape(inputs)[axis]
        drawn = tf.random.stateless_uniform([2, batch, 1], here)
        most = tf.floor(amount * tf.cast(length, tf.float32))
        width = tf.floor(drawn[0] * (most + 1))
        first = tf.floor(drawn[1] * (tf.cast(length, tf.float32) - width + 1))
        places = tf.range(tf.cast(length, tf.float32))[None]
        band = (places >= first) & (places < first + width)
        masked |= band[:, :, None] if axis == 1 else band[:, None, :]
    mean = tf.reduce_mean(inputs, list(range(1, rank)), keepdims=True)
    return tf.where(masked[..., None] if rank == 4 else masked, mean, inputs), targets


def shift(inputs: tf.Tensor, targets: Nested, amount: float, seed: tf.Tensor) -> tuple[Any, Any]:
    """Move each sequence by up to `amount` of its length, its first or last step repeated."""
    import tensorflow as tf

    steps = tf.shape(inputs)[1]
    reach = amount * tf.cast(steps, tf.float32)
    drawn = tf.random.stateless_uniform([tf.shape(inputs)[0], 1], seed, -reach, reach)
    places = tf.range(steps)[None] + tf.cast(tf.round(drawn), tf.int32)
    moved = tf.gather(inputs, tf.clip_by_value(places, 0, steps - 1), axis=1, batch_dims=1)
    return tf.ensure_shape(moved, inputs.shape), targets


@dataclass(frozen=True)
class _Known:
    change: Change
    default: float
    low: float
    high: float
    of: Literal["images", "sequences", "all"] = "images"


AUGMENTATIONS: Table[_Known] = Table(
    "augmentation",
    {
        "flip": _Known(flip, 0.5, 0, 1),
        "flip-vertical": _Known(flip_vertical, 0.5, 0, 1),
        "crop": _Known(crop, 4, 1, 512),
        "brightness": _Known(brightness, 0.1, 0, 1),
        "contrast": _Known(contrast, 0.2, 0, 1),
        "noise": _Known(noise, 0.02, 0, 1, "all"),
        "spec-augment": _Known(spec_augment, 0.15, 0.01, 1, "sequences"),
        "shift": _Known(shift, 0.1, 0.001, 1, "sequences"),
    },
)
