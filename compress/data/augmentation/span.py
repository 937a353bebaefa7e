"""The values that prepared images have, so that changes of colours know black from white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgepress.compress.data.preparation.inputs import Preparation

if TYPE_CHECKING:
    import tensorflow as tf

_EIGHT_BITS = 255.0


@dataclass(frozen=True)
class Span:
    """Black and white as a model sees them.

    Attributes:
        low: Black, one number or one for each channel.
        high: White likewise.
        reversed: Whether channels come as BGR.
    """

    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (1.0,)
    reversed: bool = False

    def to_unit(self, images: tf.Tensor) -> tf.Tensor:
        """Images from 0 to 1, RGB.

        Args:
            images: (batch, height, width, channels) float32 tensor.
        """
        import tensorflow as tf

        low, high = (tf.constant(ends, tf.float32) for ends in (self.low, self.high))
        unit = (images - low) / (high - low)
        return unit[..., ::-1] if self.reversed else unit

    def from_unit(self, images: tf.Tensor) -> tf.Tensor:
        """Images as the model sees them, from 0 to 1."""
        import tensorflow as tf

        low, high = (tf.constant(ends, tf.float32) for ends in (self.low, self.high))
        unit = images[..., ::-1] if self.reversed else images
        return unit * (high - low) + low


def span_of(preparation: Preparation, low: float, high: float) -> Span:
    """The span of images whose stored values lie between two.

    Args:
        preparation: What is done to them.
        low: The lowest value of some images as they are stored.
        high: The highest.
    """
    black, white = _full_range(low, high)
    numbers = preparation.linear
    if numbers is None:
        return Span((black,), (white,))
    pairs = numbers.pairs()
    return Span(
        tuple((black - mean) / std for mean, std in pairs),
        tuple((white - mean) / std for mean, std in pairs),
        numbers.reversed,
    )


def _full_range(low: float, high: float) -> tuple[float, float]:
    """What black and white are in the form of numbers that some values have."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    if low >= 0:
        return 0.0, max(_EIGHT_BITS, high)
    return low, high
