"""What a model file takes and gives, and a Keras model with that signature that computes nothing.

The stand-in is what data is opened for and what artifacts' tensors are paired with: both need
names, shapes and types, and whether outputs have passed a softmax or a sigmoid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.models.guarding.limits import check_memory

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Tensor

# Operators of TFLite, ONNX and TensorFlow that put values between 0 and 1.
ACTIVATIONS = {
    "SOFTMAX": "softmax",
    "LOGISTIC": "sigmoid",
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
}
# Operators behind an activation that leave its values as they are, or in other numbers.
TRANSPARENT = frozenset(
    {"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "CAST"}
    | {"DequantizeLinear", "QuantizeLinear", "Reshape", "Squeeze", "Cast", "Identity"}
)
# How many such operators are looked through.
_FAR = 8

# Bytes of numbers that aren't of four.
_ITEM_BYTES = {
    "float64": 8, "int64": 8, "uint64": 8, "complex64": 8, "complex128": 16, "float16": 2,
    "bfloat16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip

T = TypeVar("T")


def activation(output: T, made_by: Mapping[T, tuple[str, Sequence[T]]]) -> str:
    """The activation that an output has passed: "softmax", "sigmoid" or "linear".

    Args:
        output: A tensor, by what the file calls it.
        made_by: From a tensor to the name of the operator that makes it, and what that reads.
    """
    for _ in range(_FAR):
        if output not in made_by:
            break
        name, reads = made_by[output]
        if name in ACTIVATIONS:
            return ACTIVATIONS[name]
        if name not in TRANSPARENT or not reads:
            break
        output = reads[0]
    return "linear"


@dataclass(frozen=True)
class Signature:
    """What a file takes and gives.

    Attributes:
        inputs: In the file's order, by the names that its runtime knows.
        outputs: Likewise.
        activations: For each output "softmax", "sigmoid" or "linear".
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    activations: tuple[str, ...]

    @property
    def batch(self) -> int | None:
        """The batch size that the file fixes, or None where it is free."""
        return next((spec.shape[0] for spec in self.inputs if spec.shape[0]), None)


def checked(path: Path, signature: Signature) -> Signature:
    """The signature, where samples can be fed to it.

    Raises:
        InputError: An input holds text or has no axis for samples.
    """
    if not signature.inputs or not signature.outputs:
        raise InputError(f"'{path}' has no inputs or no outputs: there is nothing to run")
    for spec in signature.inputs:
        if not spec.shape:
            raise InputError(
                f"input '{spec.name}' of '{path}' is a single number without a batch axis",
                "export the model again with tensors of samples as its only inputs",
            )
        if spec.dtype in ("object", "string", "str_", "bytes_"):
            raise InputError(
                f"input '{spec.name}' of '{path}' holds text, which can't be compared or timed",
                "export the part after tokenization",
            )
    return signature


def check_samples(path: Path, signature: Signature) -> None:
    """Refuse a file of which one sample takes more memory than a file of its size may.

    Raises:
        InputError: It does.
    """
    for side in (signature.inputs, signature.outputs):
        check_memory(path, sum(map(_bytes, side)), path.stat().st_size)


def _bytes(spec: TensorSpec) -> int:
    """Bytes of one sample, and of all where the file fixes the batch; text has no size."""
    size = _ITEM_BYTES.get(spec.dtype, 4)
    return size * math.prod(abs(length) for length in spec.shape if length is not None)


def stand_in(signature: Signature) -> keras.Model:
    """A Keras model with the inputs and outputs of a file."""
    import keras

    activations = [keras.activations.get(name) for name in signature.activations]
    tensors = [
        keras.Input(spec.shape[1:], name=name, dtype=_real_type(spec))
        for name, spec in zip(plain_names(signature.inputs), signature.inputs, strict=True)
    ]
    names = plain_names(signature.outputs)
    layers = [
        _output_layer(name, spec, activation)
        for name, spec, activation in zip(names, signature.outputs, activations, strict=True)
    ]
    ranges = {
        name: real_range(spec)
        for name, spec in zip(plain_names(signature.inputs), signature.inputs, strict=True)
        if spec.scale is not None
    }
    for layer in layers:
        layer.input_ranges = ranges
    return keras.Model(tensors, [layer(tensors) for layer in layers])


def real_range(spec: TensorSpec) -> tuple[float, float]:
    """The lowest and the highest real number that a quantised tensor holds."""
    levels, scale, zero = np.iinfo(spec.dtype), spec.scale or 1.0, spec.zero_point or 0
    return (levels.min - zero) * scale, (levels.max - zero) * scale


def plain_names(specs: Sequence[TensorSpec]) -> list[str]:
    """Names without what converters put around them, each only once."""
    found: list[str] = []
    for spec in specs:
        base = spec.name.removeprefix("serving_default_").partition(":")[0].replace("/", "_")
        name, count = base or "tensor", 0
        while name in found:
            count += 1
            name = f"{base}_{count}"
        found.append(name)
    return found


def _real_type(spec: TensorSpec) -> str:
    """The type that data has: quantised inputs are filled from real values."""
    return "float32" if spec.scale is not None else spec.dtype


def _output_layer(name: str, spec: TensorSpec, activation: Any) -> keras.Layer:
    import keras

    class Signature(keras.layers.Layer):
        """Stands for everything between inputs and one output."""

        def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
            return keras.KerasTensor((inputs[0].shape[0], *spec.shape[1:]), "float32")

        def call(self, inputs: Any) -> Tensor:
            del inputs
            raise TypeError("a placeholder computes nothing")

    layer = Signature(name=name)
    layer.activation = activation
    return layer
