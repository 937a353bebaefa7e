"""Recurrent layers on the way to TFLite.

A loop converts when batch and step count are fixed. Quantising such a loop crashes the converter
(SIGSEGV inside `convert`), so for 8 and 16 bits the loop is unrolled into one copy of the cell for
each step, which every kernel set runs, that of microcontrollers too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

MOST_STEPS = 256


def flat_layers(model: Any) -> Iterator[Any]:
    """All layers of a model, those of nested models and wrappers included."""
    yield from model._flatten_layers(include_self=False, recursive=True)


def recurrent_layers(model: Any) -> list[Any]:
    """The layers that loop over time steps."""
    import keras

    return [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.RNN)]


def loops(model: Any) -> list[Any]:
    """The recurrent layers that aren't unrolled yet."""
    return [layer for layer in recurrent_layers(model) if not layer.unroll]


def unroll(model: Any) -> Any:
    """A model of the same function whose recurrent layers are unrolled.

    Args:
        model: A functional or Sequential Keras model with fixed step counts.

    Returns:
        A new model with copied weights.

    Raises:
        ValueError: The model can't be rebuilt, or has more than `MOST_STEPS` steps.
    """
    import keras

    steps = max((_steps(layer) for layer in loops(model)), default=0)
    if steps > MOST_STEPS:
        raise ValueError(
            f"unrolling {steps} time steps makes a graph too large (most: {MOST_STEPS})"
        )
    looping = (keras.layers.RNN, keras.layers.Bidirectional)

    def config(layer: Any) -> dict[str, Any]:
        own: dict[str, Any] = layer.get_config()
        return _unrolled(own) if isinstance(layer, looping) else own

    return rebuilt_model(model, config)


def rebuilt_model(model: Any, config: Callable[[Any], dict[str, Any]], inputs: Any = None) -> Any:
    """A model of the same graph and weights, its layers made anew.

    Args:
        model: A functional or Sequential Keras model.
        config: Gives the configuration of a layer's successor.
        inputs: Its inputs, in the model's structure; of the same types by default.
    """
    import keras

    def anew(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer
        return layer.__class__.from_config(config(layer))

    nested = {} if isinstance(model, keras.Sequential) else {"recursive": True}
    copy = keras.models.clone_model(model, input_tensors=inputs, clone_function=anew, **nested)
    copy.set_weights(model.get_weights())
    return copy


def _steps(layer: Any) -> int:
    """Time steps of a layer; inside a wrapper they aren't known to the layer itself."""
    try:
        return int(layer.input.shape[1] or 0)
    except (AttributeError, ValueError, IndexError):
        return 0


def _unrolled(config: dict[str, Any]) -> dict[str, Any]:
    if "layer" in config:  # Bidirectional
        parts = [name for name in ("layer", "backward_layer") if config.get(name)]
        inner = {
            name: {**config[name], "config": _unrolled(config[name]["config"])} for name in parts
        }
        return {**config, **inner}
    return {**config, "unroll": True}
