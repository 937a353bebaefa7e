"""What a layer rule is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.channels.ids import Ids, Shape
from edgepress.compress.structure.channels.site import Site

if TYPE_CHECKING:
    import keras

Outputs = Ids | Sequence[Ids]


class TraceRule(Protocol):
    """How a layer treats channels."""

    def __call__(self, layer: keras.Operation, inputs: tuple[Ids, ...], site: Site, /) -> Outputs:
        """Say which channels come out, bind weights, unite and pin.

        Args:
            layer: The layer or operation.
            inputs: Channel numbers of each input tensor.
            site: Makes fresh channels, binds, unites and pins.

        Returns:
            Channel numbers of each output tensor (one `Ids` where there is one output).
        """


class Sizes(Protocol):
    """The sizes that a plan leaves at one call of a layer."""

    def weight(self, weight: keras.Variable) -> tuple[int, ...]:
        """Shape of one of the layer's weights."""

    def input(self, index: int = 0) -> Shape:
        """Shape of an input."""

    def output(self, index: int = 0) -> Shape:
        """Shape of an output."""

    def kept(self, axis: int) -> NDArray[np.bool_]:
        """For the first input: a bool for each position of an axis, whether it stays."""


class Resize(Protocol):
    """How a layer's configuration shrinks."""

    def __call__(self, layer: keras.Layer, config: dict[str, Any], sizes: Sizes, /) -> None:
        """Write the new sizes into the configuration.

        Args:
            layer: The layer as it is.
            config: Its `get_config()`, changed in place.
            sizes: What the plan leaves.
        """


class Revise(Protocol):
    """How an operation of `keras.ops` is called after sizes changed."""

    def __call__(self, operation: keras.Operation, arguments: list[Any], sizes: Sizes, /) -> None:
        """Write the new sizes into the operation or its positional arguments.

        Args:
            operation: A private copy of the operation, changed in place.
            arguments: Positional arguments of the call, tensors among them, changed in place.
            sizes: What the plan leaves.
        """


Adjust = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Rule:
    """Everything that pruning must know about one kind of layer.

    Attributes:
        trace: How it treats channels.
        resize: How its configuration shrinks; None where no size stands in it.
        revise: The same for an operation.
        adjust: Called with (old layer, new layer) after the weights were sliced, where the
            arithmetic depends on a size (the scale of attention).
    """

    trace: TraceRule
    resize: Resize | None = None
    revise: Revise | None = None
    adjust: Adjust | None = None
