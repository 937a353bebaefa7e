"""The inputs of saved models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.assembly import attributes
from edgepress.compress.models.legacy.wiring.naming import safe_name

if TYPE_CHECKING:
    import keras


def input_tensor(config: Mapping[str, Any], name: str) -> keras.KerasTensor:
    """The symbolic input that a saved input layer means.

    Args:
        config: The layer's settings, of any version of Keras.
        name: Its name.

    Raises:
        InputError: It has no shape, or is ragged.
    """
    import keras

    shape = config.get("batch_input_shape") or config.get("batch_shape")
    if shape is None:
        raise InputError(
            f"input '{name}' has no shape in the file",
            "build the model in a function with defined inputs and give file.py:function",
        )
    if config.get("ragged"):
        raise InputError(
            f"input '{name}' is ragged, which Keras 3 doesn't have",
            "save the model with dense, padded inputs",
        )
    kind = attributes.dtype(config.get("dtype") or config.get("input_dtype")) or "float32"
    if kind.startswith("mixed"):
        kind = "float32"
    sparse = bool(config.get("sparse"))
    return keras.Input(batch_shape=tuple(shape), dtype=kind, sparse=sparse, name=safe_name(name))
