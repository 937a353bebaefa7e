"""Layers that compute in floats what int8 will compute: quantised values, exact gradients.

Kernels lie on a symmetric grid of 255 levels for each output channel, activations on an
asymmetric one of 256 levels: the arithmetic of TFLite's 8-bit specification.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, 2018; LiteRT 8-bit quantization specification.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

_LEVELS = 127


def on_grid(kernel: Any, kept: tuple[int, ...]) -> Any:
    """A kernel rounded to its int8 grid; the gradient passes unchanged.

    Args:
        kernel: The kernel.
        kept: Axes that have a scale for each entry.
    """
    axes = [a for a in range(len(kernel.shape)) if a - len(kernel.shape) not in kept]
    largest = ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    step = ops.maximum(largest / _LEVELS, 1e-12)
    rounded = ops.round(kernel / step) * step
    return kernel + ops.stop_gradient(rounded - kernel)


class QuantisedConv1D(keras.layers.Conv1D):
    """Conv1D with its kernel on the int8 grid; weights that are zero can be kept so."""

    mask: Any = None

    @property
    def kernel(self) -> Any:
        """The kernel as int8 holds it."""
        return on_grid(_masked(super().kernel, self.mask), (-1,))


class QuantisedConv2D(keras.layers.Conv2D):
    """Conv2D with its kernel on the int8 grid; weights that are zero can be kept so."""

    mask: Any = None

    @property
    def kernel(self) -> Any:
        """The kernel as int8 holds it."""
        return on_grid(_masked(super().kernel, self.mask), (-1,))


class QuantisedDense(keras.layers.Dense):
    """Dense with its kernel on the int8 grid; weights that are zero can be kept so."""

    mask: Any = None

    @property
    def kernel(self) -> Any:
        """The kernel as int8 holds it."""
        return on_grid(_masked(super().kernel, self.mask), (-1,))


class QuantisedDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D with its kernel on the int8 grid; zeros can be kept."""

    mask: Any = None

    def call(self, inputs: Any) -> Any:
        """Convolve with the kernel as int8 holds it."""
        result = ops.depthwise_conv(
            inputs,
            on_grid(_masked(self.kernel, self.mask), (-1, -2)),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.activation(result + self.bias if self.use_bias else result)


def _masked(kernel: Any, mask: Any) -> Any:
    return kernel if mask is None else kernel * mask


QUANTISED: dict[str, Any] = {
    "Conv1D": QuantisedConv1D,
    "Conv2D": QuantisedConv2D,
    "Dense": QuantisedDense,
    "DepthwiseConv2D": QuantisedDepthwiseConv2D,
}


class ActivationRange(keras.layers.Layer):
    """Rounds activations to 256 levels between a low and a high value that follow the data.

    Args:
        momentum: Share of the old range that a training step keeps.
    """

    def __init__(self, momentum: float = 0.99, **options: Any) -> None:
        super().__init__(**options)
        self.momentum = momentum
        self.observing = False

    def build(self, shape: Any) -> None:
        """Make the two ends of the range."""
        del shape
        self.low = self.add_weight(name="low", shape=(), initializer="zeros", trainable=False)
        self.high = self.add_weight(name="high", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Round, or, while observing, only widen the range."""
        if self.observing:
            self._follow(inputs, 0.0)
            return inputs
        if training:
            self._follow(inputs, self.momentum)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.low.value, self.high.value)

    def _follow(self, inputs: Any, momentum: float) -> None:
        low, high = ops.min(inputs), ops.max(inputs)
        if self.observing:
            low, high = ops.minimum(low, self.low), ops.maximum(high, self.high)
        # Zero must be a level: paddings are made of it.
        low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
        self.low.assign(momentum * self.low + (1 - momentum) * low)
        self.high.assign(momentum * self.high + (1 - momentum) * high)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "momentum": self.momentum}


def baked(layer: Any) -> list[np.ndarray[Any, Any]]:
    """A quantised layer's weights with the kernel as int8 holds it."""
    values = layer.get_weights()
    kept = (-1, -2) if isinstance(layer, QuantisedDepthwiseConv2D) else (-1,)
    kernel = _masked(ops.convert_to_tensor(values[0]), layer.mask)
    return [np.asarray(on_grid(kernel, kept)), *values[1:]]
