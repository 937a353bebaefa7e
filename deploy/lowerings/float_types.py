"""Copies of models that compute in another float type.

A precision is a choice of the export. A graph that computes in 16 bits, as training with mixed
precision leaves it, has no operators in TFLite, and would make files that are called float32 and
aren't. In 64 bits a model shows what its own rounding costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.deploy.lowerings.recurrent import flat_layers, rebuilt_model

if TYPE_CHECKING:
    import keras

HALVES = frozenset({"float16", "bfloat16"})


def half_layers(model: keras.Model) -> list[str]:
    """Names of the layers that compute in 16-bit floats."""
    return [x.name for x in flat_layers(model) if str(x.compute_dtype) in HALVES]


def remark(model: keras.Model) -> str:
    """What is to be said of `in_single_precision`; empty where it changes nothing."""
    halves = half_layers(model)
    if not halves:
        return ""
    more = f" and {len(halves) - 1} others compute" if len(halves) > 1 else " computes"
    return f"layer '{halves[0]}'{more} in 16-bit floats: taken in 32 bits"


def in_single_precision(model: keras.Model) -> keras.Model:
    """A model of the same weights that computes in 32-bit floats.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model; the given one where it computes so already.

    Raises:
        InputError: It can't be rebuilt.
    """
    halves = half_layers(model)
    if not halves:
        return model
    try:
        return _recast(model, HALVES, "float32")
    except Exception as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(
            f"layer '{halves[0]}' computes in 16-bit floats, and a copy in 32 bits fails: {first}",
            "load the weights into a model that was built with dtype='float32'",
        ) from error


def in_double_precision(model: keras.Model) -> keras.Model | None:
    """A model of the same weights that computes in 64-bit floats; None where it can't be rebuilt.

    Args:
        model: A functional or Sequential Keras model that computes in 32 bits.
    """
    try:
        return _recast(model, frozenset({"float32"}), "float64")
    except Exception:  # Layers of one's own may fail in any way.
        return None


def _recast(model: keras.Model, kinds: frozenset[str], wanted: str) -> keras.Model:
    """A model whose inputs of some types have another, and so all its layers."""
    import keras

    def fresh(tensor: keras.KerasTensor) -> keras.KerasTensor:
        kind = wanted if str(tensor.dtype) in kinds else tensor.dtype
        return keras.Input(batch_shape=tensor.shape, dtype=kind, name=tensor.name)

    structure = getattr(model, "_inputs_struct", model.inputs[0])
    inputs = keras.tree.map_structure(fresh, structure)
    return rebuilt_model(model, lambda layer: _with_policy(layer.get_config(), wanted), inputs)


def _with_policy(config: Any, wanted: str) -> Any:
    """A configuration with every policy for types replaced."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return wanted
        return {key: _with_policy(value, wanted) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_with_policy(value, wanted) for value in config)
    return config
