"""What counting is given, and what it gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgepress.compress.graph import Shape

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

ShapeOf = Callable[[Any], tuple[int, ...]]


@dataclass(frozen=True)
class Count:
    """Multiply-accumulates, and what they leave out.

    Attributes:
        macs: Those that were counted.
        doubts: What can't be counted, and why, one line each.
    """

    macs: int = 0
    doubts: tuple[str, ...] = ()

    def __add__(self, other: Count) -> Count:
        return Count(self.macs + other.macs, tuple(dict.fromkeys(self.doubts + other.doubts)))

    def times(self, number: int) -> Count:
        """The same, several times over."""
        return Count(self.macs * number, self.doubts)


@dataclass(frozen=True)
class Use:
    """One call of a layer, as a formula sees it.

    Attributes:
        layer: The layer or operation.
        inputs: Shapes of its inputs, batch first.
        outputs: Shapes of its outputs.
        shape: Gives a weight's shape: as it is, or as a plan will leave it.
        node: The call's node in its graph; None for a layer inside of another.
    """

    layer: Any
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    shape: ShapeOf
    node: Any = None

    def size(self, weight: keras.Variable | tf.Tensor) -> int:
        """Numbers in a weight."""
        return math.prod(self.shape(weight))

    def of(self, layer: keras.Layer) -> Use:
        """The same call of a layer inside of this one."""
        return replace(self, layer=layer, node=None)
