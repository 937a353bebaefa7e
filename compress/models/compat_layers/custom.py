"""Layers of the Keras world that Keras 3 doesn't have, with their exact formulas.

They are registered under the package name "edgepress", so that a saved model that holds one is
loaded again wherever this module has been imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_register = keras.saving.register_keras_serializable


@_register("edgepress")
class ThresholdedReLU(keras.layers.Layer):
    """`x` where `x > theta`, else 0.

    Args:
        theta: Threshold, at least 0.
    """

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = float(theta)
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        """Apply the threshold."""
        return inputs * ops.cast(inputs > self.theta, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {**super().get_config(), "theta": self.theta}


@_register("edgepress")
class ParametricSoftplus(keras.layers.Layer):
    """Keras 1's `alpha·log(1 + exp(beta·x))` with learned alpha and beta of one sample's shape."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make alpha and beta."""
        shape = tuple(input_shape[1:])
        self.alphas = self.add_weight(shape=shape, name="alphas", initializer="ones")
        self.betas = self.add_weight(shape=shape, name="betas", initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        """Apply the function."""
        return ops.softplus(self.betas * inputs) * self.alphas

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape


@_register("edgepress")
class SReLU(keras.layers.Layer):
    """S-shaped rectified linear unit of Keras 1 and keras-contrib.

    Args:
        shared_axes: Axes (from 1) along which the four parameters are shared.

    Source: Jin et al., "Deep Learning with S-shaped Rectified Linear Activation Units", 2015.
    """

    def __init__(self, shared_axes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shared_axes = [int(axis) for axis in shared_axes or ()]
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the parameters: left and right thresholds and slopes."""
        shape = [1 if axis in self.shared_axes else size for axis, size in enumerate(input_shape)][
            1:
        ]
        self.t_left = self.add_weight(shape=shape, name="t_left", initializer="zeros")
        self.a_left = self.add_weight(shape=shape, name="a_left", initializer="zeros")
        self.t_right = self.add_weight(shape=shape, name="t_right", initializer="ones")
        self.a_right = self.add_weight(shape=shape, name="a_right", initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        """Apply the three pieces."""
        right = self.t_left + ops.abs(self.t_right)
        below = self.t_left + self.a_left * (inputs - self.t_left)
        above = right + self.a_right * (inputs - right)
        middle = ops.where(inputs < right, inputs, above)
        return ops.where(inputs > self.t_left, middle, below)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {**super().get_config(), "shared_axes": self.shared_axes}


@_register("edgepress")
class CosineMerge(keras.layers.Layer):
    """Keras 1's merging of two vectors by their cosine, of shape (batch, 1, 1)."""

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        """Refuse what isn't two vectors: with more axes, Keras 1 divided by something else."""
        if [len(shape) for shape in input_shape] != [2, 2]:
            raise InputError(
                f"layer '{self.name}' merges inputs of shapes {input_shape} by their cosine, which"
                " can be converted for two vectors only",
                "build the model in a function and give file.py:function",
            )

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """The cosine; the lengths' product is taken to be at least 1e-7."""
        first, second = inputs
        lengths = [ops.sum(ops.square(vector), axis=1, keepdims=True) for vector in inputs]
        product = ops.maximum(ops.sqrt(lengths[0] * lengths[1]), 1e-7)
        return ops.expand_dims(ops.sum(first * second, axis=1, keepdims=True) / product, 1)

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """One number for each sample."""
        return (input_shape[0][0], 1, 1)


@_register("edgepress")
class PeepholeLSTMCell(keras.layers.LSTMCell):
    """tf.keras's experimental LSTM cell whose gates also see the cell's state.

    Source: Gers and Schmidhuber, "Recurrent nets that time and count", 2000, as Keras 2 wrote it.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernels of the cell and a weight for each unit and gate."""
        super().build(input_shape)
        self.input_gate, self.forget_gate, self.output_gate = (
            self.add_weight(shape=(self.units,), name=f"{gate}_gate_peephole_weights")
            for gate in ("input", "forget", "output")
        )

    def _compute_carry_and_output(
        self, x: Sequence[Tensor], h_tm1: Sequence[Tensor], c_tm1: Tensor
    ) -> tuple[Tensor, Tensor]:
        kernels = ops.split(self.recurrent_kernel, 4, axis=1)
        parts = zip(x, h_tm1, kernels, strict=True)
        return self._compute_carry_and_output_fused(
            [given + ops.matmul(state, kernel) for given, state, kernel in parts], c_tm1
        )

    def _compute_carry_and_output_fused(
        self, z: Sequence[Tensor], c_tm1: Tensor
    ) -> tuple[Tensor, Tensor]:
        entering, forgetting, new, leaving = z
        enters = self.recurrent_activation(entering + self.input_gate * c_tm1)
        stays = self.recurrent_activation(forgetting + self.forget_gate * c_tm1)
        state = stays * c_tm1 + enters * self.activation(new)
        return state, self.recurrent_activation(leaving + self.output_gate * state)


@_register("edgepress")
class Highway(keras.layers.Layer):
    """Keras 1's highway layer: `t·activation(x·W + b) + (1 - t)·x`, `t = sigmoid(x·Wc + bc)`.

    Args:
        activation: Activation of the transformed part.
        use_bias: Whether b and bc exist.

    Source: Srivastava et al., "Highway Networks", 2015.
    """

    def __init__(self, activation: Any = "linear", use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the two square kernels and their biases."""
        size = input_shape[-1]
        self.kernel = self.add_weight(shape=(size, size), name="kernel")
        self.carry_kernel = self.add_weight(shape=(size, size), name="carry_kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(size,), name="bias", initializer="zeros")
            self.carry_bias = self.add_weight(shape=(size,), name="carry_bias", initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        """Mix the transformed input with the input."""
        gate = ops.matmul(inputs, self.carry_kernel)
        moved = ops.matmul(inputs, self.kernel)
        if self.use_bias:
            gate, moved = gate + self.carry_bias, moved + self.bias
        gate = ops.sigmoid(gate)
        return self.activation(moved) * gate + (1.0 - gate) * inputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation, "use_bias": self.use_bias}


@_register("edgepress")
class MaxoutDense(keras.layers.Layer):
    """Keras 1's maxout: the maximum over `features` linear maps to `units` values.

    Args:
        units: Size of the output.
        features: Number of linear maps.
        use_bias: Whether each map has a bias.

    Source: Goodfellow et al., "Maxout Networks", 2013.
    """

    def __init__(self, units: int, features: int = 4, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.features, self.use_bias = units, features, use_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernel (features, inputs, units)."""
        shape = (self.features, input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, name="kernel")
        if self.use_bias:
            sizes = (self.features, self.units)
            self.bias = self.add_weight(shape=sizes, name="bias", initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """The maximum of the maps."""
        output = ops.einsum("bi,fio->bfo", inputs, self.kernel)
        if self.use_bias:
            output = output + self.bias
        return ops.max(output, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {
            **super().get_config(),
            "units": self.units,
            "features": self.features,
            "use_bias": self.use_bias,
        }


@_register("edgepress")
class ContribInstanceNormalization(keras.layers.Layer):
    """keras-contrib's InstanceNormalization, which divides by `std + epsilon`.

    Args:
        axis: Axis that keeps its own statistics; None takes them over the whole sample.
        epsilon: Added to the standard deviation.
        center: Whether beta is added.
        scale: Whether gamma multiplies.

    Source: Ulyanov et al., "Instance Normalization", 2016; keras-contrib 2.0.8.
    """

    def __init__(
        self,
        axis: int | None = None,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon, self.center, self.scale = axis, epsilon, center, scale
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make gamma and beta."""
        shape = (1,) if self.axis is None else (input_shape[self.axis],)
        if self.scale:
            self.gamma = self.add_weight(shape=shape, name="gamma", initializer="ones")
        if self.center:
            self.beta = self.add_weight(shape=shape, name="beta", initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise each sample."""
        rank = len(inputs.shape)
        kept = None if self.axis is None else self.axis % rank
        axes = [axis for axis in range(1, rank) if axis != kept]
        mean = ops.mean(inputs, axis=axes, keepdims=True)
        deviation = ops.std(inputs, axis=axes, keepdims=True) + self.epsilon
        output = (inputs - mean) / deviation
        shape = [1] * rank
        if kept is not None:
            shape[kept] = inputs.shape[kept]
        if self.scale:
            output = output * ops.reshape(self.gamma, shape)
        if self.center:
            output = output + ops.reshape(self.beta, shape)
        return output

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }


@_register("edgepress")
class LayerScale(keras.layers.Layer):
    """ConvNeXt's learned factor for each channel.

    Args:
        init_values: Initial factor.
        projection_dim: Number of channels.

    Source: Touvron et al., "Going deeper with Image Transformers", 2021.
    """

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002
        """Make the factors."""
        start = keras.initializers.Constant(self.init_values)
        shape = (self.projection_dim,)
        self.gamma = self.add_weight(shape=shape, name="gamma", initializer=start)

    def call(self, inputs: Tensor) -> Tensor:
        """Scale each channel."""
        return inputs * self.gamma

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        own = {"init_values": self.init_values, "projection_dim": self.projection_dim}
        return {**super().get_config(), **own}


@_register("edgepress")
class SavedParameter(keras.layers.Layer):
    """An array as a layer: gives the array, whatever it is called on.

    Args:
        shape: Shape of the array.
    """

    def __init__(self, shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def build(self, input_shape: tuple[int | None, ...] | None) -> None:  # noqa: ARG002
        """Make the array."""
        self.value = self.add_weight(
            shape=self.shape,
            name="value",
            initializer="zeros",
            dtype=self.variable_dtype,
            trainable=self.trainable,
        )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:  # noqa: ARG002
        """The array; the input only places the layer in the graph."""
        return ops.convert_to_tensor(self.value)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: ARG002
        """The array's own shape."""
        return self.shape

    def get_config(self) -> dict[str, Any]:
        """Settings for saving."""
        return {**super().get_config(), "shape": list(self.shape)}
