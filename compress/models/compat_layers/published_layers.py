"""Layers that published networks brought along as code of their own, with one meaning each.

They are registered under "edgepress", as the layers of `custom` are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_register = keras.saving.register_keras_serializable("edgepress")


@_register
class L2Normalization(keras.layers.Layer):
    """Scales each pixel's channels to a length of 1, then by a learned factor for each channel.

    Source: Liu et al., "ParseNet", 2015, as SSD uses it (the layer is also saved as `Normalize`).
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the factors."""
        self.gamma = self.add_weight(shape=(input_shape[-1],), name="gamma", initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise and scale."""
        squares = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(squares, 1e-12)) * self.gamma

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape


@_register
class Scale(keras.layers.Layer):
    """A learned factor and offset for each channel, as Caffe's networks have them.

    Args:
        axis: Axis of the channels.

    Source: the ResNet-101 and DenseNet of Keras by F. Yu, 2016.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make gamma and beta."""
        shape = (input_shape[self.axis],)
        self.gamma = self.add_weight(shape=shape, name="gamma", initializer="ones")
        self.beta = self.add_weight(shape=shape, name="beta", initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """Scale and shift."""
        shape = [1] * len(inputs.shape)
        shape[self.axis] = inputs.shape[self.axis]
        return inputs * ops.reshape(self.gamma, shape) + ops.reshape(self.beta, shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {**super().get_config(), "axis": self.axis}


@_register
class PixelShuffler(keras.layers.Layer):
    """Channels to blocks of pixels (channels last).

    Args:
        size: Rows and columns of a block.

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016 (the layer is
    also saved as `SubPixelUpscaling`).
    """

    def __init__(self, size: Any = (2, 2), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = (int(size), int(size)) if isinstance(size, int) else tuple(map(int, size))

    def call(self, inputs: Tensor) -> Tensor:
        """Rearrange."""
        rows, columns = self.size
        batch, height, width, _ = ops.shape(inputs)
        depth = inputs.shape[-1] // (rows * columns)
        parts = ops.reshape(inputs, (batch, height, width, rows, columns, depth))
        parts = ops.transpose(parts, (0, 1, 3, 2, 4, 5))
        return ops.reshape(parts, (batch, height * rows, width * columns, depth))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[int | None, ...]:
        """(batch, rows, columns, channels)."""
        batch, height, width, channels = input_shape
        rows, columns = self.size
        larger = (None if n is None else n * by for n, by in ((height, rows), (width, columns)))
        return (batch, *larger, channels // (rows * columns))

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {**super().get_config(), "size": self.size}


@_register
class ReflectionPadding2D(keras.layers.Layer):
    """Pads an image (channels last) with its mirror image, without the edge itself.

    Args:
        padding: Pixels on every side.
    """

    def __init__(self, padding: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = int(padding)

    def call(self, inputs: Tensor) -> Tensor:
        """Pad."""
        sides = [self.padding, self.padding]
        return ops.pad(inputs, [[0, 0], sides, sides, [0, 0]], mode="reflect")

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[int | None, ...]:
        """(batch, rows, columns, channels)."""
        batch, height, width, channels = input_shape
        larger = (None if n is None else n + 2 * self.padding for n in (height, width))
        return (batch, *larger, channels)

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {**super().get_config(), "padding": self.padding}
