"""Layers that a model trained for int8 keeps in floats."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

# Outputs hold values of their input: one scale for both.
SAME_SCALE = frozenset({
    "Cropping1D", "Cropping2D", "Dropout", "Flatten", "GetItem", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "MaxPooling1D", "MaxPooling2D", "Permute", "RepeatVector", "Reshape",
    "SpatialDropout2D", "ZeroPadding1D", "ZeroPadding2D",
})  # fmt: skip
# What only moves, joins or scales values: at the end of a model it may stay in floats.
_JOINING = SAME_SCALE | {
    "Add", "Concatenate", "LeakyReLU", "Multiply", "ReLU", "Rescaling", "Subtract",
}  # fmt: skip
# What a separable convolution is split into.
_HALVES = ("_depthwise", "_pointwise")


class InFloats:
    """Calls a layer on floats that the converter can't take for integers.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: keras.Layer) -> None:
        self._layer = layer
        self._count = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the layer gives for floats."""
        import keras

        from edgepress.deploy.quantize.ranges import FloatsFrom

        def floats(value: Any) -> Any:
            if not isinstance(value, keras.KerasTensor) or not value.dtype.startswith("float"):
                return value
            self._count += 1
            return FloatsFrom(name=f"{self._layer.name}_floats_{self._count}")(value)

        arguments, options = keras.tree.map_structure(floats, (arguments, options))
        return self._layer(*arguments, **options)


def float_end(model: keras.Model, outputs: Collection[str]) -> dict[str, str]:
    """The operations before some outputs that stay in floats: those that join or scale values.

    Args:
        model: A Keras model.
        outputs: Names of the operations that make these outputs.

    Returns:
        The kind of each operation by its name.
    """
    found: dict[str, str] = {}
    waiting = [t for t in model.outputs if t._keras_history.operation.name in outputs]
    while waiting:
        operation, node, _ = waiting.pop()._keras_history
        kind = type(operation).__name__
        if operation.name in found or kind not in _JOINING:
            continue
        found[operation.name] = kind
        waiting += operation._inbound_nodes[node].input_tensors
    return found


def kept_layers(model: keras.Model, names: Collection[str]) -> dict[str, InFloats]:
    """The layers of a folded model that stay in floats, rebuilt, by name.

    Args:
        model: The model; halves of separable convolutions stand for the whole.
        names: Names of layers before folding.
    """
    from edgepress.compress.models.rebuilding.replacing import copy_of

    wanted = {*names, *(name + half for name in names for half in _HALVES)}
    return {x.name: InFloats(copy_of(x)) for x in model.layers if x.name in wanted}


def copy_floats(model: keras.Model, aware: keras.Model, names: Collection[str]) -> None:
    """Give layers in floats the weights of those that they stand for."""
    for name in names:
        aware.get_layer(name).set_weights(model.get_layer(name).get_weights())
