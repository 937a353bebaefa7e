"""What a layer receives while a model runs, as the rows of a least-squares problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from edgepress.compress.weights.masks.prunable import PrunableWeight

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

BATCH = 32


@dataclass(frozen=True)
class Reader:
    """Turns a layer's input into rows: each row times the kernel's matrix is one output vector.

    Attributes:
        groups: Groups of a grouped convolution, else 1; each has rows of its own.
        rows: From the layer's input and the group's number to (n, S x I) rows.
    """

    groups: int
    rows: Any


def reader_for(kernel: PrunableWeight) -> Reader | None:
    """The reader of a kernel, or None where its layer isn't a matrix product over one input."""
    layer = kernel.layer
    if isinstance(layer, keras.layers.Dense):
        return Reader(1, lambda inputs, _group: inputs.reshape(-1, inputs.shape[-1]))
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_reader(layer)
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    kind = next((k for k in kinds if isinstance(layer, k)), None)
    if kind is None or layer.data_format == "channels_first":
        return None
    return _patch_reader(kind, layer, kernel.shape)


def _einsum_reader(layer: keras.Layer) -> Reader | None:
    """Readable where input, kernel and result name the summed and the made axes in one order."""
    operands, result = layer.equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    summed = "".join(label for label in kernel if label not in result)
    made = kernel[len(summed) :]
    if not summed or not inputs.endswith(summed) or kernel != summed + made or made not in result:
        return None
    axes = len(summed)
    return Reader(1, lambda value, _group: value.reshape(-1, prod(value.shape[-axes:])))


def _patch_reader(kind: type, layer: keras.Layer, shape: tuple[int, ...]) -> Reader:
    """A convolution whose kernel is the identity gives the patches that the layer sees."""
    size = prod(shape[:-1])
    patches = kind(
        size,
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
    )
    channels = shape[-2]
    patches.build((None, *([None] * (len(shape) - 2)), channels))
    patches.kernel.assign(np.eye(size, dtype=np.float32).reshape(*shape[:-1], size))

    def rows(inputs: tf.Tensor, group: int) -> NDArray[np.float32]:
        part = inputs[..., group * channels : (group + 1) * channels]
        return np.asarray(patches(part)).reshape(-1, size)

    return Reader(layer.groups, rows)


@contextmanager
def recorded(layer: keras.Layer) -> Iterator[list[tf.Tensor]]:
    """The inputs that a layer is called with inside the block, one entry for each call."""
    inputs: list[Any] = []
    call = layer.call

    def record(value: tf.Tensor, *args: Any, **options: Any) -> tf.Tensor:
        inputs.append(value)
        return call(value, *args, **options)

    object.__setattr__(layer, "call", record)
    try:
        yield inputs
    finally:
        object.__delattr__(layer, "call")


def batches(
    model: keras.Model, samples: Mapping[str, Float[np.ndarray, "..."]]
) -> Iterator[Nested]:
    """Samples, given by input name, in batches of the structure that a model takes."""
    names = [tensor._keras_history.operation.name for tensor in model.inputs]
    arrays = [samples[name] for name in names] if len(names) > 1 else list(samples.values())
    for start in range(0, len(arrays[0]), BATCH):
        parts = [array[start : start + BATCH] for array in arrays]
        single = isinstance(model, keras.Sequential)
        yield parts[0] if single else keras.tree.pack_sequence_as(model.input, parts)


def inputs_of(
    model: keras.Model, layer: keras.Layer, batch: Nested
) -> list[NDArray[np.float32]] | None:
    """The arrays that a layer receives for one batch, or None where they can't be seen.

    They can't where the layer runs inside a compiled function or loop.
    """
    with recorded(layer) as inputs:
        model(batch, training=False)
    if not inputs or not all(hasattr(value, "numpy") for value in inputs):
        return None
    return [value.numpy().astype(np.float32) for value in inputs]
