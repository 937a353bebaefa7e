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
# A model that multiplies white to more than this takes inputs from -1 to 1.
_SIGNED = 1.5


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
    preparation: Preparation,
    channels: int,
    top: float,
    low: float,
    high: float,
    factor: float | None = None,
) -> TargetScaling | None:
    """How target images are scaled: as the inputs, by the factor alone, or so that white is 1.

    Args:
        preparation: That of the inputs.
        channels: Channels of target images.
        top: The largest value that they may hold.
        low: The lowest value that the output can give.
        high: The highest.
        factor: What the model multiplies its inputs by itself, or None.

    Returns:
        The first whose values the output can give; all that inputs undergo where it can give none,
        and None where inputs stay as they are and the output gives what targets are.
    """
    numbers = preparation.linear
    slack = _SLACK * (high - low) if high - low < float("inf") else _SLACK

    def fits(tried: Preparation) -> bool:
        found = tried.linear
        pairs = found.pairs() if found is not None else [(0.0, 1.0)]
        ends = [(v - m) / s for m, s in pairs for v in (0.0, top)]
        return low - slack <= min(ends) and max(ends) <= high + slack

    plain = dataclasses.replace(preparation, scale=None, mean=None, std=None, preset=None)
    to_one = dataclasses.replace(plain, scale=1 / top)
    if numbers is None:
        # A model that scales its inputs itself is asked for pictures on the same scale.
        signed = dataclasses.replace(plain, scale=2 / top, mean=(1.0,))
        own = [signed, to_one] if (factor or 0) * top > _SIGNED else [to_one]
        asked = factor is not None and not fits(plain)
        return next((TargetScaling(p) for p in own if fits(p)), None) if asked else None
    alone = dataclasses.replace(plain, scale=preparation.scale or (1 / _TOP))
    whole = preparation if {len(numbers.mean), len(numbers.std)} <= {1, channels} else alone
    return TargetScaling(next(filter(fits, (whole, alone, to_one)), whole))


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
