"""Models that compute in 16-bit floats, as training with mixed precision leaves them, in 32 bits.

A precision is a choice of the export. A graph that computes in 16 bits has no operators in TFLite,
and would make files that are called float32 and aren't.
"""

from __future__ import annotations

from typing import Any

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters.recurrent import flat_layers, rebuilt_model

HALVES = frozenset({"float16", "bfloat16"})


def half_layers(model: Any) -> list[str]:
    """Names of the layers that compute in 16-bit floats."""
    return [x.name for x in flat_layers(model) if str(x.compute_dtype) in HALVES]


def in_single_precision(model: Any) -> Any:
    """A model of the same weights that computes in 32-bit floats.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model; the given one where it computes so already.

    Raises:
        InputError: It can't be rebuilt.
    """
    import keras

    halves = half_layers(model)
    if not halves:
        return model

    def fresh(tensor: Any) -> Any:
        kind = "float32" if str(tensor.dtype) in HALVES else tensor.dtype
        return keras.Input(batch_shape=tensor.shape, dtype=kind, name=tensor.name)

    try:
        structure = getattr(model, "_inputs_struct", model.inputs[0])
        inputs = keras.tree.map_structure(fresh, structure)
        return rebuilt_model(model, lambda layer: _in_single(layer.get_config()), inputs)
    except Exception as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(
            f"layer '{halves[0]}' computes in 16-bit floats, and a copy in 32 bits fails: {first}",
            "load the weights into a model that was built with dtype='float32'",
        ) from error


def _in_single(config: Any) -> Any:
    """A configuration with every policy for types replaced."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return "float32"
        return {key: _in_single(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_in_single(value) for value in config)
    return config
