"""Copies of models, so that a user's own object is never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.own_training import train_like
from edgepress.compress.models.rebuilding.vocabularies import copy_vocabulary

if TYPE_CHECKING:
    import keras


def copy_model(model: keras.Model) -> keras.Model:
    """A model of the same layers, names and weights that shares nothing with the given one.

    Args:
        model: A built Keras model.

    Returns:
        A new model, not compiled, with the same trainable flags.

    Raises:
        InputError: The model has no configuration that it can be built from again.
    """
    try:
        with trusting(_layers(model)):
            copy = _rebuilt(model)
    except InputError:  # says more already
        raise
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"model '{model.name}' can't be copied: {error}",
            "give its class get_config and from_config",
        ) from error
    forget_compilation(copy)
    copy_state(model, copy)
    train_like(copy, model)
    return copy


@contextmanager
def trusting(layers: Iterable[keras.Layer]) -> Iterator[None]:
    """Let layers be built again from their configurations with what they already run.

    Functions and classes of the user's own needn't be registered for that, and are no more
    dangerous in a copy.
    """
    import keras
    from keras.src.saving.serialization_lib import SafeModeScope

    own: dict[str, Any] = {}
    for part in (part for x in layers for part in x._flatten_layers()):
        held: list[Any] = [type(part), *filter(isfunction, vars(part).values())]
        own |= {v.__name__: v for v in held if not v.__module__.startswith("keras.")}
    with SafeModeScope(safe_mode=False), keras.saving.custom_object_scope(own):
        yield


def copy_layer(layer: keras.Layer) -> keras.Layer:
    """A new layer with a layer's settings and vocabulary, whose weights aren't built yet.

    Args:
        layer: A Keras layer; a Lambda layer keeps the function that it already runs.

    Raises:
        InputError: It can't be made from its settings.
    """
    try:
        with trusting([layer]):
            fresh = type(layer).from_config(layer.get_config())
    except InputError:  # says more already
        raise
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"layer '{layer.name}' ({type(layer).__name__}) can't be rebuilt from its"
            f" configuration: {' '.join(str(error).split())[:120]}",
            "give its class a get_config that names all arguments",
        ) from error
    copy_vocabulary(layer, fresh)
    return fresh


def plain_configuration(layer: keras.Layer) -> dict[str, Any]:
    """A layer's configuration in containers of its own, which may be changed.

    Keras gives some of a layer's own lists, which keep track of the layer: a deep copy of one
    copies the layer's tracker, and fails at the modules that it holds.

    Args:
        layer: A Keras layer.

    Raises:
        NotImplementedError: The layer has no configuration.
    """
    config: dict[str, Any] = _plain(layer.get_config())
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_plain(held) for held in value]
    if type(value) is tuple:
        return tuple(map(_plain, value))
    return value


def _rebuilt(model: keras.Model) -> keras.Model:
    """A model of the same layers and names with weights of its own."""
    import keras

    if isinstance(model, keras.Sequential):
        return clone(model)
    if _is_functional(model):
        return clone(model, fresh_inputs(model))
    copy = type(model).from_config(model.get_config())
    copy.build_from_config(model.get_build_config())
    return copy


def clone(model: keras.Model, input_tensors: Any = None, **options: Any) -> keras.Model:
    """Keras's `clone_model`, of which nothing is compiled.

    Keras compiles the clone of a compiled model, for which it would have to find each loss, metric
    and optimizer of the user's own by its name.

    Args:
        model: A functional or Sequential model.
        input_tensors: As `keras.models.clone_model` takes them.
        **options: Likewise.
    """
    import keras

    compiled = [m for m in model._flatten_layers() if getattr(m, "compiled", False)]
    try:
        for part in compiled:
            part.compiled = False
        return keras.models.clone_model(model, input_tensors, **options)
    finally:
        for part in compiled:
            part.compiled = True


def fresh_inputs(model: keras.Model) -> Any:
    """New inputs of a functional model, under the old names (which `clone_model` changes)."""
    import keras

    def again(tensor: keras.KerasTensor) -> keras.KerasTensor:
        name = tensor._keras_history.operation.name
        return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)

    return keras.tree.map_structure(again, model.input)


def forget_compilation(model: keras.Model) -> None:
    """Undo that a class of the user's own compiles what it makes of a configuration."""
    model.compiled = False
    model.optimizer = None


def copy_state(source: keras.Model, target: keras.Model) -> None:
    """Copy all variables (weights, seed generators), vocabularies and what is trainable."""
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old)
    for old, new in zip(_layers(source), _layers(target), strict=True):
        copy_vocabulary(old, new)
    copy_flags(source, target)


def copy_flags(source: keras.Model, target: keras.Model) -> None:
    """Make trainable of one model what is trainable of another of the same layers."""
    for old, new in zip(_layers(source), _layers(target), strict=True):
        new._trainable = old._trainable
    for old, new in zip(source.weights, target.weights, strict=True):
        new.trainable = old.trainable


def _is_functional(model: keras.Model) -> bool:
    return hasattr(model, "_nodes_by_depth") and hasattr(model, "operations")


def _layers(model: keras.Model) -> list[keras.Layer]:
    return [model, *model._flatten_layers(include_self=False)]
