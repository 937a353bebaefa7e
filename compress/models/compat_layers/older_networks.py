"""Layers of the time of Keras 1: its own that are gone, and those of published Caffe networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_register = keras.saving.register_keras_serializable("edgepress")


@_register
class PoolHelper(keras.layers.Layer):
    """Leaves out the first row and column, channels first: Caffe pads its pooling otherwise.

    Source: the GoogLeNet of Keras 1 by J. Marino, 2016.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Cut."""
        return inputs[:, :, 1:, 1:]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Rows and columns one less."""
        batch, channels, *sizes = input_shape
        return (batch, channels, *(None if s is None else s - 1 for s in sizes))


@_register
class LRN(keras.layers.Layer):
    """Local response normalisation over the channels, which come first.

    `x / (k + alpha / n · Σ x²)^beta`, the sum over `n` neighbouring channels.

    Args:
        alpha: Factor of the sum.
        k: Added to it.
        beta: Exponent.
        n: Number of channels in the sum.

    Source: Krizhevsky et al., "ImageNet Classification", 2012; Caffe's division by n.
    """

    def __init__(
        self, alpha: float = 1e-4, k: float = 1.0, beta: float = 0.75, n: int = 5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.alpha, self.k, self.beta, self.n = alpha, k, beta, n

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise."""
        half = self.n // 2
        channels = inputs.shape[1]
        squares = ops.pad(ops.square(inputs), [[0, 0], [half, half], [0, 0], [0, 0]])
        total = sum(squares[:, i : i + channels] for i in range(self.n))
        return inputs / ops.power(self.k + self.alpha / self.n * total, self.beta)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        own = {"alpha": self.alpha, "k": self.k, "beta": self.beta, "n": self.n}
        return {**super().get_config(), **own}


@_register
class UnlearnedNormalization(keras.layers.Layer):
    """Keras 1's batch normalisation of mode 1 and 2, which uses no learned statistics.

    Args:
        mode: 1 normalises each sample along the last axis, 2 each batch along all others.
        axis: Axis of the channels, for mode 2.
        epsilon: Added to the variance (and, in mode 1, to its root as well).

    Source: Keras 1.2.2, keras/layers/normalization.py.
    """

    def __init__(self, mode: int, axis: int = -1, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode, self.axis, self.epsilon = mode, axis, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make gamma and beta."""
        shape = (input_shape[-1 if self.mode == 1 else self.axis],)
        self.gamma = self.add_weight(shape=shape, name="gamma", initializer="ones")
        self.beta = self.add_weight(shape=shape, name="beta", initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise, scale and shift."""
        rank = len(inputs.shape)
        kept = (-1 if self.mode == 1 else self.axis) % rank
        axes = [kept] if self.mode == 1 else [axis for axis in range(rank) if axis != kept]
        mean = ops.mean(inputs, axis=axes, keepdims=True)
        deviation = ops.sqrt(ops.var(inputs, axis=axes, keepdims=True) + self.epsilon)
        if self.mode == 1:
            deviation = deviation + self.epsilon
        shape = [1] * rank
        shape[kept] = inputs.shape[kept]
        scaled = (inputs - mean) / deviation * ops.reshape(self.gamma, shape)
        return scaled - ops.reshape(-self.beta, shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        own = {"mode": self.mode, "axis": self.axis, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
