"""Convolutions that Keras 3 computes differently from Keras 2 did, registered under "edgepress".

Keras 3.15 adds a bias along the last axis wherever its size fits, also to an output with the
channels first whose width happens to equal the number of channels. The classes here bear the names
of Keras's own, which they extend, and add the bias along the channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_register = keras.saving.register_keras_serializable("edgepress")


class _ChannelsFirst:
    """Adds the bias along axis 1."""

    use_bias: bool
    bias: Any
    activation: Any

    def linear(self, inputs: Tensor) -> Tensor:
        """The convolution alone."""
        raise NotImplementedError

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve, add the bias, apply the activation."""
        outputs = self.linear(inputs)
        if self.use_bias:
            shape = (1, -1, *(1 for _ in outputs.shape[2:]))
            outputs = outputs - ops.reshape(-self.bias, shape)
        return outputs if self.activation is None else self.activation(outputs)


class _Shared(_ChannelsFirst):
    def linear(self: keras.Layer, inputs: Tensor) -> Tensor:
        """Convolve with kernels over all channels."""
        return self.convolution_op(inputs, self.kernel)


class _Transposed(_ChannelsFirst):
    def linear(self: keras.Layer, inputs: Tensor) -> Tensor:
        """Spread each value over the output."""
        return ops.conv_transpose(
            inputs,
            self.kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class _Depthwise(_ChannelsFirst):
    def linear(self: keras.Layer, inputs: Tensor) -> Tensor:
        """Convolve each channel alone."""
        return ops.depthwise_conv(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class _Separable(_ChannelsFirst):
    def linear(self: keras.Layer, inputs: Tensor) -> Tensor:
        """Convolve each channel alone, then mix them."""
        return ops.separable_conv(
            inputs,
            self.depthwise_kernel,
            self.pointwise_kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


def _channels_first(how: type, name: str) -> Any:
    """A class of Keras's name whose bias goes along axis 1."""
    base = getattr(layers, name)
    text = f"Keras's {name} with its bias along the channels, which come first."
    return _register(type(name, (how, base), {"__module__": __name__, "__doc__": text}))


# Keras's class → the one that is right with the channels first.
CHANNELS_FIRST: dict[type, Any] = {
    getattr(layers, name): _channels_first(how, name)
    for how, names in (
        (_Shared, ("Conv1D", "Conv2D", "Conv3D")),
        (_Transposed, ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")),
        (_Depthwise, ("DepthwiseConv1D", "DepthwiseConv2D")),
        (_Separable, ("SeparableConv1D", "SeparableConv2D")),
    )
    for name in names
}


def corrected(layer: keras.Layer) -> bool:
    """Make a convolution with the channels first add its bias along them.

    Keras's own class stays wherever the output is known to be of another width than its channels.

    Args:
        layer: A layer of a built model; changed in place, it keeps its weights and its calls.

    Returns:
        Whether it had to be.
    """
    right = CHANNELS_FIRST.get(type(layer))
    if right is None or layer.data_format != "channels_first" or layer.bias is None:
        return False
    channels = layer.bias.shape[0]
    widths = {node.output_tensors[0].shape[-1] for node in layer._inbound_nodes}
    if channels == 1 or not (widths or {None}) & {channels, None}:
        return False
    layer.__class__ = right
    return True


@_register
class CausalSeparableConv1D(layers.SeparableConv1D):
    """A separable convolution over time that sees no later step, which Keras 3 dropped."""

    def call(self, inputs: Tensor) -> Tensor:
        """Pad at the beginning, then convolve."""
        return super().call(ops.pad(inputs, [[0, 0], [self._before(), 0], [0, 0]]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, steps, filters)."""
        batch, steps, channels = input_shape
        padded = None if steps is None else steps + self._before()
        return super().compute_output_shape((batch, padded, channels))

    def _before(self) -> int:
        return int(self.dilation_rate[0] * (self.kernel_size[0] - 1))
