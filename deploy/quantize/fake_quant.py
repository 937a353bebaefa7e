"""Layers that compute in floats what int8 will compute: quantised values, exact gradients.

Kernels lie on a symmetric grid of 255 levels for each output channel, activations on an
asymmetric one of 256 levels: the arithmetic of TFLite's 8-bit specification. While training,
values are rounded and gradients pass unchanged. Otherwise a layer that knows the ranges before and
after it counts in whole numbers, as the kernels do (see `ranges`). While a graph is written for
the converter (`written_for_converter`), layers are plain: it finds the same grids by itself.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, 2018; LiteRT 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    import tensorflow as tf

_LEVELS = 127
_plain = False


@contextmanager
def written_for_converter() -> Iterator[None]:
    """While this lasts, layers are what the converter reads: a kernel, and ranges around it."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def is_plain() -> bool:
    """Whether a graph is being written for the converter."""
    return _plain


def step_of(kernel: tf.Tensor, kept: tuple[int, ...]) -> tf.Tensor:
    """The distance of a kernel's levels, for each entry of the kept axes."""
    axes = [a for a in range(len(kernel.shape)) if a - len(kernel.shape) not in kept]
    largest = ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    return divided(largest, _LEVELS)


def divided(width: tf.Tensor, levels: float) -> tf.Tensor:
    """The distance of levels, as files hold it: divided in double precision, then rounded.

    In single precision a graph may multiply by the reciprocal instead, which is off by one bit
    where a division isn't; where a kernel's sums hit the middle between two levels, that decides.
    """
    exact = ops.cast(width, "float64") / levels
    return ops.maximum(ops.cast(exact, "float32"), 1e-12)


def rounded(values: tf.Tensor) -> tf.Tensor:
    """Whole numbers; the gradient passes unchanged."""
    return values + ops.stop_gradient(ops.round(values) - values)


def on_grid(kernel: tf.Tensor, kept: tuple[int, ...]) -> tf.Tensor:
    """A kernel rounded to its int8 grid; the gradient passes unchanged.

    Args:
        kernel: The kernel.
        kept: Axes that have a scale for each entry.
    """
    step = step_of(kernel, kept)
    return kernel + ops.stop_gradient(ops.round(kernel / step) * step - kernel)


@dataclass(frozen=True)
class Around:
    """The ranges of what a layer reads and of what it gives; not a layer, so Keras owns neither."""

    before: tuple[Any, ...]
    after: Any


class _Kernel:
    """A layer with a kernel on the int8 grid; entries that are zero, or equal, can be kept so.

    Attributes:
        mask: Which entries stay zero, or None.
        clusters: For each entry the number of its value, or None where values are free.
        around: The ranges before and after, or None while the layer isn't wired.
    """

    mask: Any = None
    clusters: Any = None
    around: Around | None = None
    kept: tuple[int, ...] = (-1,)

    def held(self, kernel: tf.Tensor) -> tf.Tensor:
        """A kernel with its zeros and its equal values as they have to stay."""
        if self.clusters is not None:
            numbers = self.clusters.reshape(-1)
            sizes = np.bincount(numbers).astype("float32")
            sums = ops.segment_sum(ops.reshape(kernel, (-1,)), numbers, len(sizes))
            kernel = ops.reshape(ops.take(sums / sizes, numbers), kernel.shape)
        return kernel if self.mask is None else kernel * self.mask

    def multiplied(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The layer's operation without bias and activation."""
        raise NotImplementedError

    def computed(
        self, inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """The layer's output before its activation.

        Args:
            inputs: Values on the levels of the range before.
            kernel: The kernel as it is trained.
            bias: The bias, or None.
            training: Whether the gradient matters more than the last bit.
        """
        kernel = self.held(kernel)
        before = self.around.before[0] if self.around else None
        if _plain or before is None or before.observing:
            result = self.multiplied(inputs, on_grid(kernel, self.kept))
            return result if bias is None else result + self.outputs_last(bias)
        # Steps are constants to the gradient: a kernel's largest entry isn't trained to be smaller.
        step = ops.stop_gradient(step_of(kernel, self.kept))
        unit = before.scale * ops.reshape(step, (-1,))
        total = self.multiplied(rounded(inputs / before.scale), rounded(kernel / step))
        if bias is not None:
            total = total + self.outputs_last(_counted_bias(bias, unit))
        after = self.around.after if self.around else None
        if training or after is None or after.observing:
            return total * self.outputs_last(unit)
        return ops.round(total * self.outputs_last(unit / after.scale)) * after.scale

    def outputs_last(self, values: tf.Tensor) -> tf.Tensor:
        """A value for each output channel in the shape that the layer's output broadcasts with."""
        if getattr(self, "data_format", "channels_last") == "channels_first":
            return ops.reshape(values, (1, -1, *[1] * self.rank))  # type: ignore[attr-defined]
        return values


def _counted_bias(bias: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """A bias in whole units: divided in double precision, since it may be many thousands."""
    exact = ops.round(ops.cast(bias, "float64") / ops.cast(unit, "float64"))
    return bias / unit + ops.stop_gradient(ops.cast(exact, "float32") - bias / unit)


class QuantisedConv1D(_Kernel, keras.layers.Conv1D):
    """Conv1D with its kernel on the int8 grid."""

    def multiplied(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve."""
        if self.padding != "causal":
            return self.convolution_op(inputs, kernel)
        padded = ops.pad(inputs, self._compute_causal_padding())
        return ops.conv(
            padded, kernel, list(self.strides), "valid", self.data_format, self.dilation_rate
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Convolve with the kernel as int8 holds it."""
        return self.activation(self.computed(inputs, self.kernel, self.bias, training))


class QuantisedConv2D(_Kernel, keras.layers.Conv2D):
    """Conv2D with its kernel on the int8 grid."""

    def multiplied(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve."""
        return self.convolution_op(inputs, kernel)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Convolve with the kernel as int8 holds it."""
        return self.activation(self.computed(inputs, self.kernel, self.bias, training))


class QuantisedDense(_Kernel, keras.layers.Dense):
    """Dense with its kernel on the int8 grid."""

    def multiplied(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Multiply."""
        return ops.matmul(inputs, kernel)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Multiply with the kernel as int8 holds it."""
        return self.activation(self.computed(inputs, self.kernel, self.bias, training))


class QuantisedDepthwiseConv2D(_Kernel, keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D with its kernel on the int8 grid."""

    kept = (-1, -2)

    def multiplied(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve each channel."""
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Convolve with the kernel as int8 holds it."""
        bias = self.bias if self.use_bias else None
        return self.activation(self.computed(inputs, self.kernel, bias, training))


class QuantisedConv2DTranspose(_Kernel, keras.layers.Conv2DTranspose):
    """Conv2DTranspose with its kernel on the int8 grid."""

    kept = (-2,)

    def multiplied(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve the other way round."""
        return ops.conv_transpose(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Convolve with the kernel as int8 holds it."""
        return self.activation(self.computed(inputs, self.kernel, self.bias, training))


QUANTISED: dict[str, Any] = {
    "Conv1D": QuantisedConv1D,
    "Conv2D": QuantisedConv2D,
    "Conv2DTranspose": QuantisedConv2DTranspose,
    "Dense": QuantisedDense,
    "DepthwiseConv2D": QuantisedDepthwiseConv2D,
}


def baked(layer: keras.Layer) -> list[np.ndarray[Any, Any]]:
    """A quantised layer's weights with the kernel as int8 holds it."""
    values = layer.get_weights()
    kernel = layer.held(ops.convert_to_tensor(values[0]))
    return [np.asarray(on_grid(kernel, layer.kept)), *values[1:]]
