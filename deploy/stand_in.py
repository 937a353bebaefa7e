"""A model with the signature of an artifact, through which data can be understood without source.

It computes nothing: opening data needs names, shapes and types of inputs and outputs, and whether
outputs have passed a softmax or a sigmoid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepress.benchmarks.runtime import Runtime
from edgepress.compress.artifact import TensorSpec

_ACTIVATIONS = {
    "SOFTMAX": "softmax",
    "LOGISTIC": "sigmoid",
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
}


def stand_in(path: Path) -> Any:
    """A Keras model with the inputs and outputs of a `.tflite` or `.onnx` file.

    Raises:
        DeviceError: The runtime refuses the file.
    """
    import keras

    with Runtime(path) as runtime:
        inputs, outputs = runtime.tensors()
        operators = runtime.describe()["operators"]
    found = [_ACTIVATIONS[o] for o in operators if o in _ACTIVATIONS]
    activation = keras.activations.get(found[-1] if found else "linear")
    tensors = [
        keras.Input(spec.shape[1:], name=_plain(spec.name), dtype=_real_type(spec))
        for spec in inputs
    ]
    layers = [_shape_layer(spec, activation) for spec in outputs]
    return keras.Model(tensors, [layer(tensors) for layer in layers])


def _plain(name: str) -> str:
    """A tensor's name without the signature that converters put around it."""
    return name.removeprefix("serving_default_").partition(":")[0].replace("/", "_")


def _real_type(spec: TensorSpec) -> str:
    """The type that data has: quantised inputs are filled from real values."""
    return "float32" if spec.scale is not None else spec.dtype


def _shape_layer(spec: TensorSpec, activation: Any) -> Any:
    import keras

    class Signature(keras.layers.Layer):
        """Stands for everything between inputs and one output."""

        def compute_output_spec(self, inputs: Any) -> Any:
            return keras.KerasTensor((inputs[0].shape[0], *spec.shape[1:]), "float32")

        def call(self, inputs: Any) -> Any:
            del inputs
            raise TypeError("a stand-in computes nothing")

    layer = Signature(name=_plain(spec.name))
    layer.activation = activation
    return layer
