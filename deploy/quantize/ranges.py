"""Ranges of activations, and the operations that int8 kernels carry out between two of them.

Outside of training, operations count as LiteRT's kernels on a CPU do (XNNPACK's, and for average
pooling the built-in one), to the last bit: additions by two multipliers of 20 bits, products and
means by one multiplier in 32-bit floats, average pooling by a rounded division.

Source: the kernels qs8-vadd, qs8-vmul and qs8-rdsum of XNNPACK; the built-in kernel
AveragePool of LiteRT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import ops

from edgepress.deploy.quantize.fake_quant import Around, divided, is_plain

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_MULTIPLIER_BITS = 20
# The range that the 8-bit specification gives to the logistic function, and its levels' distance.
LOGISTIC_RANGE = (0.0, 255 / 256)
_LOGISTIC_STEP = 1 / 256


class FloatsFrom(keras.layers.Layer):
    """Where the float end of a model begins: the same values, through operators that stay floats.

    The converter carries a scale on through what only moves, joins or scales values, that of one
    part of a joined output to all parts. A negation has no integer kernel, so none goes past it.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Give the inputs."""
        return ops.multiply(ops.negative(inputs), -1.0) if is_plain() else inputs


class ActivationRange(keras.layers.Layer):
    """Rounds activations to 256 levels between a low and a high value that follow the data.

    Args:
        momentum: Share of the old range that a training step keeps.
        fixed: A low and a high value that don't follow the data, or None.
    """

    def __init__(
        self,
        momentum: float = 0.99,
        fixed: tuple[float, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.momentum = momentum
        self.fixed = fixed
        self.observing = False

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the two ends of the range."""
        del shape
        ends = self.fixed or (0.0, 0.0)
        self.low, self.high = (
            self.add_weight(
                name=name,
                shape=(),
                initializer=keras.initializers.Constant(value),
                trainable=False,
            )
            for name, value in zip(("low", "high"), ends, strict=True)
        )

    @property
    def scale(self) -> tf.Tensor:
        """The distance of two levels."""
        return divided(ops.cast(self.high, "float64") - ops.cast(self.low, "float64"), 255.0)

    @property
    def zero_point(self) -> tf.Tensor:
        """The int8 level of zero."""
        return ops.round(-self.low / self.scale) - 128.0

    def compute_output_spec(self, inputs: Tensor, training: bool = False) -> keras.KerasTensor:
        """As the input, but dense: Keras takes the product with a number for a sparse tensor."""
        del training
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Round, or, while observing, only widen the range."""
        if self.observing:
            self._follow(inputs, 0.0)
            return inputs
        if training:
            self._follow(inputs, self.momentum)
        return self.round(inputs)

    def round(self, inputs: Tensor) -> Tensor:
        """Round to the levels; the gradient passes inside the range."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.low.value, self.high.value)

    def _follow(self, inputs: Tensor, momentum: float) -> None:
        if self.fixed is not None:
            return
        low, high = ops.min(inputs), ops.max(inputs)
        if self.observing:
            low, high = ops.minimum(low, self.low), ops.maximum(high, self.high)
        # Zero must be a level: paddings are made of it.
        low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
        self.low.assign(momentum * self.low + (1 - momentum) * low)
        self.high.assign(momentum * self.high + (1 - momentum) * high)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "momentum": self.momentum, "fixed": self.fixed}


class SharedRange(keras.layers.Layer):
    """Rounds to the levels of another place's range: the kernels have one scale for both.

    Args:
        around: Holds the range; it belongs to its own place in the model.
    """

    def __init__(self, around: Around, **options: Any) -> None:
        super().__init__(**options)
        self.around = around

    def call(self, inputs: Tensor) -> Tensor:
        """Round, unless ranges are still being observed."""
        source = self.around.before[0]
        return inputs if source.observing else source.round(inputs)


class _Counting:
    """An operation that counts in whole numbers where it knows the ranges around it."""

    around: Around | None = None

    def compute_output_spec(self, inputs: Tensor, training: bool = False) -> keras.KerasTensor:
        """The output's shape; Keras's own version knows no `training`."""
        del training
        return super().compute_output_spec(inputs)  # type: ignore[misc]

    def counted(self, inputs: Tensor, training: bool) -> tuple[list[Any], Any] | None:
        """Inputs in levels from their zero and the range after, or None where floats will do."""
        around = self.around
        if is_plain() or training or around is None or around.after is None:
            return None
        ranges = (*around.before, around.after)
        if any(r.observing for r in ranges):
            return None
        tensors = inputs if isinstance(inputs, list | tuple) else [inputs]
        pairs = zip(tensors, around.before, strict=True)
        return [ops.round(tensor / r.scale) for tensor, r in pairs], around.after


class QuantisedAdd(_Counting, keras.layers.Add):
    """Add as int8 kernels add two tensors of different scales."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Add."""
        found = self.counted(inputs, training)
        if found is None or self.around is None:
            return super().call(inputs)
        levels, after = found
        ratios = [r.scale / after.scale for r in self.around.before]
        largest = ops.maximum(*ratios)
        shift = ops.power(2.0, _MULTIPLIER_BITS - ops.floor(ops.log2(largest)))
        total = sum(
            ops.cast(level, "float64") * ops.cast(ops.round(ratio * shift), "float64")
            for level, ratio in zip(levels, ratios, strict=True)
        )
        result = ops.floor(total / ops.cast(shift, "float64") + 0.5)
        return ops.cast(result, "float32") * after.scale


class QuantisedMultiply(_Counting, keras.layers.Multiply):
    """Multiply as int8 kernels do."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Multiply."""
        found = self.counted(inputs, training)
        if found is None or self.around is None:
            return super().call(inputs)
        levels, after = found
        first, second = (r.scale for r in self.around.before)
        return ops.round(levels[0] * levels[1] * (first * second / after.scale)) * after.scale


class QuantisedGlobalAveragePooling2D(_Counting, keras.layers.GlobalAveragePooling2D):
    """GlobalAveragePooling2D as int8 kernels take a mean."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Take the mean."""
        found = self.counted(inputs, training)
        if found is None or self.around is None:
            return super().call(inputs)
        [levels], after = found
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        count = float(inputs.shape[axes[0]] * inputs.shape[axes[1]])
        sums = ops.sum(levels, axes, keepdims=self.keepdims)
        factor = self.around.before[0].scale / (after.scale * count)
        return ops.round(sums * factor) * after.scale


class QuantisedAveragePooling2D(_Counting, keras.layers.AveragePooling2D):
    """AveragePooling2D as int8 kernels do it: within the levels of its input."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Take the mean of each window."""
        found = self.counted(inputs, training)
        if found is None:
            return super().call(inputs)
        [levels], after = found
        means = super().call(levels) + after.zero_point
        rounded = ops.sign(means) * ops.floor(ops.abs(means) + 0.5)
        return (rounded - after.zero_point) * after.scale


class QuantisedSilu(_Counting, keras.layers.Activation):
    """The activation silu as int8 files hold it: a logistic function, and a product with it."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Multiply with what the table of the logistic function holds."""
        if is_plain():
            return super().call(inputs)
        low, high = LOGISTIC_RANGE
        gate = tf.quantization.fake_quant_with_min_max_vars(ops.sigmoid(inputs), low, high)
        found = self.counted(inputs, training)
        if found is None or self.around is None:
            return inputs * gate
        [levels], after = found
        unit = self.around.before[0].scale * _LOGISTIC_STEP
        return ops.round(levels * ops.round(gate / _LOGISTIC_STEP) * (unit / after.scale)) * (
            after.scale
        )


COUNTED: dict[str, Any] = {
    "Activation": QuantisedSilu,
    "Add": QuantisedAdd,
    "AveragePooling2D": QuantisedAveragePooling2D,
    "GlobalAveragePooling2D": QuantisedGlobalAveragePooling2D,
    "Multiply": QuantisedMultiply,
}
