"""Copies of models that compute in another float type.

A precision is a choice of the export. A graph that computes in 16 bits, as training with mixed
precision leaves it, or in 64, as one factor of NumPy's makes it, has no operators in TFLite, and
would make files that are called float32 and aren't. In 64 bits a model shows what its own rounding
costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.deploy.lowerings.recurrent import flat_layers, rebuilt_model

if TYPE_CHECKING:
    import keras

# Bits of the float types that aren't taken as they are.
_BITS = {"float16": 16, "bfloat16": 16, "float64": 64}


def single_type(own: Callable[..., str], *kinds: Any) -> str:
    """The type of an operation's result, 32-bit floats where Keras says 64.

    A number of NumPy's, as in `scores / np.sqrt(8)`, has 64 bits, and all that follows gets them.
    What is cast to 64 bits by name keeps them, as in the training for int8.
    """
    kind = own(*kinds)
    return "float32" if kind == "float64" else kind


def recast_layers(model: keras.Model) -> dict[str, int]:
    """The layers that compute in 16-bit or 64-bit floats, and those bits, by name."""
    kinds = {x.name: str(x.compute_dtype) for x in flat_layers(model)}
    return {name: _BITS[kind] for name, kind in kinds.items() if kind in _BITS}


def remark(model: keras.Model) -> str:
    """What is to be said of `in_single_precision`; empty where it changes nothing."""
    recast = recast_layers(model)
    if not recast:
        return ""
    name, bits = next(iter(recast.items()))
    more = f" and {len(recast) - 1} others compute" if len(recast) > 1 else " computes"
    return f"layer '{name}'{more} in {bits}-bit floats: taken in 32 bits"


def in_single_precision(model: keras.Model) -> keras.Model:
    """A model of the same weights that computes in 32-bit floats.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model; the given one where it computes so already.

    Raises:
        InputError: It can't be rebuilt.
    """
    recast = recast_layers(model)
    if not recast:
        return model
    try:
        return _recast(model, frozenset(_BITS), "float32")
    except Exception as error:
        first = " ".join(str(error).split())[:200]
        name, bits = next(iter(recast.items()))
        raise InputError(
            f"layer '{name}' computes in {bits}-bit floats, and a copy in 32 bits fails: {first}",
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
