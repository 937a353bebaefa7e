"""Masks of time steps, where Keras 3 passes them on otherwise than Keras 2 did.

Keras 3 records masks of symbolic tensors as tensors of the graph; one that is put on a tensor here
reaches every later layer as an argument of its call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_MERGES = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")


def mask_of(tensor: Any) -> keras.KerasTensor | None:
    """The mask that a symbolic tensor carries, or None."""
    return getattr(tensor, "_keras_mask", None)


def merges_masked(layer: keras.Layer, inputs: Any) -> bool:
    """Whether a layer merges tensors of which some carry a mask."""
    known = type(layer).__name__ in _MERGES and isinstance(inputs, list)
    return known and any(mask_of(tensor) is not None for tensor in inputs)


def merge(layer: keras.Layer, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Merge as Keras 2 did: values as they are, steps kept that every mask keeps.

    Keras 3 multiplies what is masked by one, and keeps the steps that any mask keeps.
    """
    from keras import ops

    if type(layer).__name__ == "Multiply":
        output = inputs[0]
        for tensor in inputs[1:]:
            output = ops.multiply(output, tensor)
    else:
        output = layer(inputs)
    masks = [mask_of(tensor) for tensor in inputs if mask_of(tensor) is not None]
    kept = masks[0]
    for mask in masks[1:]:
        kept = kept if mask is kept else ops.logical_and(kept, mask)
    output._keras_mask = kept
    return output


def name_apart(
    name: str, tensors: Sequence[keras.KerasTensor], known: set[int], named: bool = False
) -> None:
    """Name what was recorded for tensors and their masks so that no layer's name is taken.

    Args:
        name: The layer that was called.
        tensors: Its outputs.
        known: Operations that have their names already; those found are added.
        named: Whether those found have good names, too.
    """
    import keras

    pending = [*tensors, *(mask for t in tensors if (mask := mask_of(t)) is not None)]
    while pending:
        history = getattr(pending.pop(), "_keras_history", None)
        if history is None or id(history.operation) in known:
            continue
        operation = history.operation
        known.add(id(operation))
        if not named and not isinstance(operation, keras.Layer):
            operation.name = f"{name}.mask{len(known)}"
        for node in operation._inbound_nodes:
            pending += node.input_tensors
