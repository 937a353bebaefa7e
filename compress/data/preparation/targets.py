"""Target images are scaled as the inputs are, as far as the output can give what comes of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgepress.compress.data.preparation.inputs import Preparation

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Nested

_TOP = 255.0
_SLACK = 1e-3


@dataclass(frozen=True)
class TargetScaling:
    """Scales target images.

    Attributes:
        by: The preparation of inputs whose numbers are used.
    """

    by: Preparation

    def __call__(self, targets: Nested) -> Nested:
        """Scale one batch, (batch, height, width, channels); gives float32."""
        import tensorflow as tf

        return self.by.scaled(tf.cast(targets, tf.float32))


def scaled_targets(
    preparation: Preparation, channels: int, top: float, low: float, high: float
) -> TargetScaling | None:
    """How target images are scaled: as the inputs, or by the factor alone.

    Args:
        preparation: That of the inputs.
        channels: Channels of target images.
        top: The largest value that they may hold.
        low: The lowest value that the output can give.
        high: The highest.

    Returns:
        The first of both whose values the output can give; all that inputs undergo where it can
        give neither, and None where inputs stay as they are.
    """
    numbers = preparation.linear
    if numbers is None:
        return None
    factor = dataclasses.replace(
        preparation, scale=preparation.scale or (1 / _TOP), mean=None, std=None, preset=None
    )
    whole = preparation if {len(numbers.mean), len(numbers.std)} <= {1, channels} else factor
    slack = _SLACK * (high - low) if high - low < float("inf") else _SLACK
    for tried in (whole, factor):
        found = tried.linear
        assert found is not None
        ends = [(v - m) / s for m, s in found.pairs() for v in (0.0, top)]
        if low - slack <= min(ends) and max(ends) <= high + slack:
            return TargetScaling(tried)
    return TargetScaling(whole)


@dataclass(frozen=True)
class OneHot:
    """Class numbers as shares of classes, which samples that are mixed have.

    Attributes:
        classes: How many there are.
    """

    classes: int

    def __call__(self, targets: Nested) -> Nested:
        """Rows of one batch, (batch, classes) float32, of (batch,) or (batch, 1) numbers."""
        import tensorflow as tf

        return tf.one_hot(tf.reshape(tf.cast(targets, tf.int32), [-1]), self.classes)
