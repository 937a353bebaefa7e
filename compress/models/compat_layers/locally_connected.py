"""Locally connected layers: convolutions whose kernel differs at every position.

Keras 3 dropped them. They are written here with `keras.ops`, and registered under "edgepress".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor


class _LocallyConnected(keras.layers.Layer):
    """What the one- and two-dimensional layers share; kernel (positions, patch, filters)."""

    rank = 0

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = _sizes(kernel_size, self.rank)
        self.strides = _sizes(strides, self.rank)
        self.padding = padding
        self.data_format = data_format
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make a kernel for each position; the positions must be known."""
        first = self.data_format == "channels_first"
        channels = input_shape[1] if first else input_shape[-1]
        sizes = input_shape[2:] if first else input_shape[1:-1]
        self.input_sizes = tuple(sizes)
        self.positions = self._positions(sizes)
        patch = channels
        for size in self.kernel_size:
            patch *= size
        count = 1
        for size in self.positions:
            count *= size
        self.kernel = self.add_weight(
            shape=(count, patch, self.filters),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(*self.positions, self.filters),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _positions(self, sizes: Sequence[int]) -> tuple[int, ...]:
        each = zip(sizes, self.kernel_size, self.strides, strict=True)
        if self.padding == "same":
            return tuple(-(-size // stride) for size, _, stride in each)
        return tuple((size - kernel) // stride + 1 for size, kernel, stride in each)

    def margins(self) -> tuple[tuple[int, int], ...]:
        """Zeros before and after each axis: Keras 2 centres the windows of `same` so."""
        if self.padding != "same":
            return ((0, 0),) * self.rank
        return tuple((size // 2, size - size // 2) for size in self.kernel_size)

    def call(self, inputs: Tensor) -> Tensor:
        """Multiply each position's patch by that position's kernel."""
        first = self.data_format == "channels_first"
        margins = ((0, 0), *self.margins()) if first else (*self.margins(), (0, 0))
        inputs = ops.pad(inputs, ((0, 0), *margins)) if self.padding == "same" else inputs
        patches = []
        for place in itertools.product(*(range(n) for n in self.positions)):
            window = tuple(
                slice(at * stride, at * stride + size)
                for at, stride, size in zip(place, self.strides, self.kernel_size, strict=True)
            )
            index = (slice(None), slice(None), *window) if first else (slice(None), *window)
            patches.append(ops.reshape(inputs[index], (-1, self.kernel.shape[1])))
        output = ops.einsum("bpi,pio->bpo", ops.stack(patches, axis=1), self.kernel)
        output = ops.reshape(output, (-1, *self.positions, self.filters))
        if first:
            output = ops.moveaxis(output, -1, 1)
        if self.use_bias:
            # Keras 2 reshapes the bias to channels first, it doesn't transpose it.
            shape = (self.filters, *self.positions) if first else self.bias.shape
            output = output + ops.reshape(self.bias, shape)
        return self.activation(output)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[int | None, ...]:
        """(batch, positions…, filters), or channels first."""
        if self.data_format == "channels_first":
            return (input_shape[0], self.filters, *self._positions(input_shape[2:]))
        return (input_shape[0], *self._positions(input_shape[1:-1]), self.filters)

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }


def _sizes(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    return (int(value),) * rank if isinstance(value, int) else tuple(int(v) for v in value)


@keras.saving.register_keras_serializable("edgepress")
class LocallyConnected1D(_LocallyConnected):
    """One-dimensional convolution without shared weights."""

    rank = 1


@keras.saving.register_keras_serializable("edgepress")
class LocallyConnected2D(_LocallyConnected):
    """Two-dimensional convolution without shared weights."""

    rank = 2
