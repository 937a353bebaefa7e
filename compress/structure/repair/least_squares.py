"""Matrix products inside layers: what least squares can refit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.rules.kernels import channel_axis, has_lora

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Values

Rows = NDArray[np.float64]
Drawn = NDArray[np.float32]
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Product:
    """A weight that rows of a layer's input are multiplied with, block by block.

    Dense layers and plain convolutions have one block, grouped convolutions one for each group,
    depthwise ones one for each channel.

    Attributes:
        weight: The kernel.
        bias: What is added to the product, with as many entries as it has outputs; or None.
        part: The row of the bias that is meant, where it has several.
        blocks: How many.
        rows: From the layer's input to (rows, blocks x features), features of a block together.
        fold: From the weight's value to (blocks, features, outputs).
        unfold: And back.
    """

    weight: Any
    bias: Any
    part: int | None
    blocks: int
    rows: Callable[[Any], Drawn]
    fold: Callable[[Any], Any]
    unfold: Callable[[Any], Any]

    def kernel(self) -> Rows:
        """The weight as (blocks, features, outputs)."""
        return np.asarray(self.fold(np.asarray(self.weight, np.float64)))

    def offsets(self) -> Rows:
        """The bias as (blocks x outputs,); zeros where there is none."""
        if self.bias is None:
            return np.zeros(self.kernel()[:, 0].size)
        value = np.asarray(self.bias, np.float64)
        return value[self.part] if self.part is not None else value.ravel()

    def set_offsets(self, offsets: Rows) -> None:
        """Write the bias."""
        value = np.array(self.bias.numpy())
        target = value if self.part is None else value[self.part]
        target[...] = offsets.reshape(target.shape)
        self.bias.assign(value)


def _stacked(
    weight: keras.Variable,
    bias: keras.Variable | None,
    rows: Callable[[Values], Drawn],
    features: int,
    part: int | None = None,
) -> Product:
    """One block; the weight's first axes are features, the others outputs."""
    shape = tuple(weight.shape)
    outputs = math.prod(shape[features:])
    fits = bias is not None and (bias.shape[-1] if part is not None else bias_size(bias)) == outputs
    return Product(
        weight,
        bias if fits else None,
        part,
        1,
        rows,
        lambda v: v.reshape(1, -1, math.prod(v.shape[features:])),
        lambda m: m.reshape(shape),
    )


def bias_size(bias: keras.Variable) -> int:
    """Numbers in a bias."""
    return math.prod(bias.shape)


def _dense(layer: keras.Layer) -> Product:
    return _stacked(layer.kernel, layer.bias, vectors, 1)


def _einsum(layer: keras.Layer) -> Product | None:
    """An equation that sums over the last axes of the input and puts new ones in their place."""
    left, result = layer.equation.replace(" ", "").split("->")
    given, kernel = left.split(",")
    summed = [c for c in kernel if c in given and c not in result]
    kept, made = given.removesuffix("".join(summed)), kernel.removeprefix("".join(summed))
    if kept == given or kept + made != result:
        return None
    return _stacked(layer.kernel, layer.bias, lambda x: vectors(x, len(summed)), len(summed))


def _blocked(
    layer: keras.Layer, weight: keras.Variable, blocks: int, rows: Callable[[Values], Drawn]
) -> Product:
    """The kernel of a convolution in groups: (places…, channels of a group, outputs)."""
    shape = tuple(weight.shape)

    def fold(value: NDArray[Any]) -> NDArray[Any]:
        return value.reshape(-1, blocks, value.shape[-1] // blocks).swapaxes(0, 1)

    def unfold(matrix: NDArray[Any]) -> NDArray[Any]:
        return matrix.swapaxes(0, 1).reshape(shape)

    return Product(weight, layer.bias, None, blocks, rows, fold, unfold)


def _convolution(layer: keras.Layer) -> Product:
    groups = layer.groups

    def rows(inputs: Values) -> Drawn:
        found = patches(layer, inputs)
        if groups == 1:
            return found
        split = found.reshape(len(found), taps(layer), groups, -1)
        return split.swapaxes(1, 2).reshape(len(found), -1)

    return _blocked(layer, layer.kernel, groups, rows)


def _depthwise(layer: keras.Layer) -> Product:
    shape = tuple(layer.kernel.shape)

    def rows(inputs: Values) -> Drawn:
        found = patches(layer, inputs)
        return found.reshape(len(found), -1, shape[-2]).swapaxes(1, 2).reshape(len(found), -1)

    return Product(
        layer.kernel,
        layer.bias,
        None,
        shape[-2],
        rows,
        lambda v: v.reshape(-1, *v.shape[-2:]).swapaxes(0, 1),
        lambda m: m.swapaxes(0, 1).reshape(shape),
    )


def _separable(layer: keras.Layer) -> Product:
    """The second step, on what the first one gives."""
    import keras

    def rows(inputs: Values) -> Drawn:
        found = keras.ops.depthwise_conv(
            inputs,
            layer.depthwise_kernel,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )
        return channel_vectors(found, channel_axis(layer))

    kernel = layer.pointwise_kernel
    return _stacked(kernel, layer.bias, rows, len(kernel.shape) - 1)


def _transposed(layer: keras.Layer) -> Product:
    shape = tuple(layer.kernel.shape)
    swapped = (*shape[:-2], shape[-1], shape[-2])
    return Product(
        layer.kernel,
        layer.bias,
        None,
        1,
        lambda x: _impulses(layer, x),
        lambda v: v.swapaxes(-1, -2).reshape(1, -1, v.shape[-2]),
        lambda m: m.reshape(swapped).swapaxes(-1, -2),
    )


def _recurrent(layer: keras.Layer) -> Product:
    """What a cell makes of its inputs, for all gates."""
    bias = layer.cell.bias
    rows = None if bias is None or len(bias.shape) == 1 else 0
    return _stacked(layer.cell.kernel, bias, vectors, 1, rows)


def products(layer: keras.Layer) -> list[Product]:
    """The products that a layer makes with its first input; none where nothing is known of it.

    Args:
        layer: Any layer.
    """
    import keras

    layers = keras.layers
    if isinstance(layer, layers.Bidirectional):
        return [*products(layer.forward_layer), *products(layer.backward_layer)]
    if isinstance(layer, layers.TimeDistributed):
        return [_at_each_step(p) for p in products(layer.layer)]
    if not layer.built or has_lora(layer):
        return []
    makers: dict[tuple[type, ...], Callable[[Any], Product | None]] = {
        (layers.Dense,): _dense,
        (layers.EinsumDense,): _einsum,
        (layers.Conv1D, layers.Conv2D, layers.Conv3D): _convolution,
        (layers.DepthwiseConv1D, layers.DepthwiseConv2D): _depthwise,
        (layers.SeparableConv1D, layers.SeparableConv2D): _separable,
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose): _transposed,
        (layers.LSTM, layers.GRU, layers.SimpleRNN): _recurrent,
    }
    found = [make(layer) for kinds, make in makers.items() if isinstance(layer, kinds)]
    return [product for product in found if product is not None]


def _at_each_step(product: Product) -> Product:
    """The product of a layer that is applied to each step of a sequence."""
    import keras

    def rows(inputs: Values) -> Drawn:
        return product.rows(keras.ops.reshape(inputs, (-1, *inputs.shape[2:])))

    fields = (product.fold, product.unfold)
    return Product(product.weight, product.bias, product.part, product.blocks, rows, *fields)


def is_linear(layer: keras.Layer) -> bool:
    """Whether a layer is a dense layer, or a convolution in one or two dimensions without groups.

    Layers with adapters, quantised kernels or shared inner state don't count.
    """
    import keras

    plain = isinstance(layer, (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D))
    return plain and not has_lora(layer) and getattr(layer, "groups", 1) == 1


def kernel_rows(layer: keras.Layer) -> Rows:
    """The kernel as a matrix: (taps x input channels, output channels)."""
    value = np.asarray(layer.kernel.numpy(), np.float64)
    return value.reshape(-1, value.shape[-1])


def taps(layer: keras.Layer) -> int:
    """Places that the kernel covers: 1 for a dense layer, 9 for a 3x3 convolution."""
    return math.prod(layer.kernel.shape[:-2])


class RowSampler:
    """Draws matching rows from the inputs of a layer.

    Args:
        most: Rows to draw at most.
        seed: Draws which ones.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._seed = seed

    def rows(self, layer: keras.Layer, inputs: Values) -> Rows:
        """The vectors that a plain layer's kernel is multiplied with.

        Args:
            layer: A linear layer.
            inputs: (n, …) input tensor.

        Returns:
            (rows, taps x channels), the same places for every call with the same sizes.
        """
        return self.drawn(inputs, lambda part: patches(layer, part))

    def points(self, values: Values, axis: int) -> Rows:
        """The channel vectors of a tensor at the places of the rows of the layer that makes it.

        Args:
            values: (n, …) tensor of the layer's output shape.
            axis: Its channel axis.
        """
        return self.drawn(values, lambda part: channel_vectors(part, axis))

    def drawn(self, values: Values, rows_of: Callable[[Values], Drawn]) -> Rows:
        """Some of the rows that a function makes of a tensor, a few samples at a time."""
        random = np.random.default_rng(self._seed)
        count = len(values)
        wanted = -(-self._most // -(-count // _BATCH))
        parts = []
        for start in range(0, count, _BATCH):
            rows = rows_of(values[start : start + _BATCH])
            chosen = random.choice(len(rows), min(len(rows), wanted), replace=False)
            parts.append(rows[np.sort(chosen)])
        return np.concatenate(parts).astype(np.float64)


def channel_vectors(values: Values, axis: int) -> Drawn:
    """A tensor as (places, channels)."""
    flat = np.moveaxis(np.asarray(values, np.float32), axis, -1)
    return flat.reshape(-1, flat.shape[-1])


def vectors(values: Values, axes: int = 1) -> Drawn:
    """A tensor as (places, what its last axes hold)."""
    flat = np.asarray(values, np.float32)
    return flat.reshape(-1, math.prod(flat.shape[-axes:]))


def patches(layer: keras.Layer, inputs: Values) -> Drawn:
    """What a dense or convolution layer's kernel is multiplied with: (places, taps x channels)."""
    import tensorflow as tf

    inputs = tf.cast(inputs, tf.float32)
    if not hasattr(layer, "strides"):
        return vectors(inputs)
    if len(layer.kernel_size) == 3:
        return _impulses(layer, inputs)
    if layer.data_format == "channels_first":
        inputs = tf.transpose(inputs, (0, *range(2, inputs.ndim), 1))
    padding, size = layer.padding, list(layer.kernel_size)
    strides, rates = list(layer.strides), list(layer.dilation_rate)
    if padding == "causal":
        inputs = tf.pad(inputs, ((0, 0), (rates[0] * (size[0] - 1), 0), (0, 0)))
        padding = "valid"
    if len(size) == 1:
        inputs = inputs[:, :, None]
        size, strides, rates = ([v[0], 1] for v in (size, strides, rates))
    found = tf.image.extract_patches(
        inputs, [1, *size, 1], [1, *strides, 1], [1, *rates, 1], padding.upper()
    )
    return np.asarray(tf.reshape(found, (-1, found.shape[-1])))


def _impulses(layer: keras.Layer, inputs: Values) -> Drawn:
    """The same for a convolution of any kind, from its answers to a kernel of single ones.

    Each channel goes through by itself, with one output for each place of the kernel.
    """
    import keras

    ops = keras.ops
    inputs = ops.moveaxis(ops.cast(inputs, "float32"), channel_axis(layer), 1)
    count, channels, *places = inputs.shape
    single = ops.reshape(inputs, (count * channels, *places, 1))
    size = tuple(layer.kernel_size)
    ones = np.eye(math.prod(size), dtype=np.float32)
    options = {
        "strides": list(layer.strides),
        "padding": layer.padding,
        "data_format": "channels_last",
        "dilation_rate": layer.dilation_rate,
    }
    if hasattr(layer, "output_padding"):
        kernel = ones.reshape(*size, -1, 1)
        found = ops.conv_transpose(single, kernel, output_padding=layer.output_padding, **options)
    else:
        found = ops.conv(single, ones.reshape(*size, 1, -1), **options)
    split = np.asarray(found).reshape(count, channels, -1, math.prod(size))
    return split.transpose(0, 2, 3, 1).reshape(-1, math.prod(size) * channels)
