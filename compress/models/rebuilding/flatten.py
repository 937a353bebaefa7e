"""Subclassed models as functional ones: their `call` recorded on symbolic inputs.

A subclassed model hides its graph in Python. Calling `call` with symbolic tensors runs that Python
once and records what it does with Keras layers and `keras.ops`; layers of the user's own are
entered the same way, so that a block of convolutions ends up as convolutions.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.models.own_training import train_like
from edgepress.compress.models.rebuilding.copying import clone, copy_layer

if TYPE_CHECKING:
    import keras

_TOLERANCE = 1e-5


def is_flat(model: keras.Model) -> bool:
    """Whether a model is functional or sequential all the way down."""
    import keras

    if not isinstance(model, keras.Sequential) and not hasattr(model, "operations"):
        return False
    return all(is_flat(layer) for layer in model.layers if isinstance(layer, keras.Model))


def flatten(model: keras.Model, example_inputs: Any = None) -> keras.Model:
    """Make a functional model of a subclassed one.

    Args:
        model: Keras model; a functional one is given back as it is.
        example_inputs: What the model is called with: an array (batch first), or a list or dict of
            them. None takes the shapes that the model was built with.

    Returns:
        A new functional model with copies of the layers and weights and equal outputs. Layers of
        the user's own whose Python can't be recorded stay whole in it.

    Raises:
        InputError: The model's own `call` can't be recorded, or the result computes differently.
    """
    import keras

    if is_flat(model):
        return model
    example = _examples(model, example_inputs)
    wanted = _call(model, example)
    inputs = _inputs(model, example)
    recorder = _Recorder(model)
    with recorder.recording():
        outputs = recorder.enter(model, _arguments(model, inputs), {})
    flat = recorder.copy(keras.tree.flatten(inputs), inputs, outputs)
    _check(model, wanted, _call(flat, example))
    train_like(flat, model, flattened=True)
    return flat


def _examples(model: keras.Model, given: Any) -> Any:
    """The example as NumPy arrays, or zeros of the shapes that the model was built with."""
    import keras

    if given is not None:
        return keras.tree.map_structure(np.asarray, given)
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    found = list(shapes.values())
    if not model.built or not found:
        raise InputError(
            f"'{model.name}' is a subclassed model that was never called",
            "call it once on example data in the function that returns it",
        )
    if len(found) > 1:
        raise InputError(
            f"'{model.name}' is a subclassed model with several arguments",
            "give flatten() example inputs, or build it with the functional API",
        )
    random = np.random.default_rng(0)
    return _filled(found[0], random)


def _filled(shape: Any, random: np.random.Generator) -> Any:
    if isinstance(shape, dict):
        return {key: _filled(item, random) for key, item in shape.items()}
    if shape and isinstance(shape[0], list | tuple):
        return [_filled(item, random) for item in shape]
    sizes = [2, *(size or 8 for size in shape[1:])]
    return random.uniform(0, 1, sizes).astype("float32")


def _call(model: keras.Model, example: Any) -> list[NDArray[Any]]:
    import keras

    arguments = {"training": False} if "training" in _parameters(model) else {}
    outputs = model(*_arguments(model, example), **arguments)
    return [np.asarray(output) for output in keras.tree.flatten(outputs)]


def _parameters(layer: keras.Layer) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(layer.call).parameters


def _arguments(model: keras.Model, inputs: Any) -> tuple[Any, ...]:
    """The positional arguments of `call`: one structure, or one argument for each of a list."""
    required = [
        p
        for p in _parameters(model).values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if isinstance(inputs, list | tuple) and len(required) == len(inputs) > 1:
        return tuple(inputs)
    return (inputs,)


def _inputs(model: keras.Model, example: Any) -> Any:
    if isinstance(example, dict):
        return {key: _input(array, key) for key, array in example.items()}
    if isinstance(example, list | tuple):
        names = list(_parameters(model))
        named = len(names) >= len(example) > 1
        return [
            _input(array, names[place] if named else f"input_{place}")
            for place, array in enumerate(example)
        ]
    return _input(example, "input")


def _input(array: NDArray[Any], name: str) -> keras.KerasTensor:
    import keras

    kind = "float32" if array.dtype == np.float64 else str(array.dtype)
    return keras.Input(batch_shape=(None, *array.shape[1:]), dtype=kind, name=name)


def _is_library(layer: keras.Layer) -> bool:
    """Whether a layer's class is one of Keras's own (or edgepress's): recorded as it is."""
    import keras

    home = type(layer).__module__.partition(".")[0]
    return home in ("keras", "edgepress") and not (
        isinstance(layer, keras.Model) and not hasattr(layer, "operations")
    )


class _Recorder:
    """Records calls of layers, entering those of the user's own.

    Args:
        root: The model that is flattened.
    """

    def __init__(self, root: keras.Model) -> None:
        self.root = root
        self.path: list[str] = []
        self.names: dict[int, str] = {}
        self.kept: dict[str, str] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """While active, calling a user's layer on symbolic tensors runs its Python."""
        import keras

        original = keras.Layer.__call__

        def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
            symbolic = any(
                isinstance(value, keras.KerasTensor) for value in keras.tree.flatten([args, kwargs])
            )
            if not symbolic or _is_library(layer):
                self._remember(layer)
                return original(layer, *args, **kwargs)
            return self._inside(original, layer, args, kwargs)

        keras.Layer.__call__ = call
        try:
            yield
        finally:
            keras.Layer.__call__ = original

    def _remember(self, layer: keras.Layer) -> None:
        """Name a layer after the user's layers that it sits in."""
        place = "_".join([*self.path[1:], layer.name])
        self.names.setdefault(id(layer), place)

    def _inside(self, original: Any, layer: keras.Layer, args: Any, kwargs: dict[str, Any]) -> Any:
        """Enter a user's layer; where that fails, keep it whole."""
        reason = _own_weights(layer)
        if reason is None:
            try:
                return self.enter(layer, args, kwargs)
            except InputError as error:
                reason = error.message
        self.kept[layer.name] = reason
        self._remember(layer)
        return original(layer, *args, **kwargs)

    def enter(self, layer: keras.Layer, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a layer's `call` on symbolic tensors.

        Raises:
            InputError: Its Python can't be recorded.
        """
        reason = _own_weights(layer)
        if reason is not None:
            raise InputError(
                f"'{layer.name}' {reason}", "move them into a layer of their own and call that"
            )
        if "training" in _parameters(layer):
            # None leaves it to the flat model's own call; False would freeze batch norms.
            kwargs = {**kwargs, "training": kwargs.get("training")}
        self.path.append(layer.name)
        try:
            return layer.call(*args, **kwargs)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"'{layer.name}' can't be flattened: {_reason(error)}",
                "use Keras layers and keras.ops in its call, without if or for on values; a TFLite "
                "or ONNX file made of it can still be verified and benchmarked",
            ) from error
        finally:
            self.path.pop()

    def copy(self, tensors: list[keras.KerasTensor], inputs: Any, outputs: Any) -> keras.Model:
        """A model of the recorded graph with layers of its own, so that the source stays as it is.

        Args:
            tensors: The inputs, flat.
            inputs: Their structure.
            outputs: The recorded outputs.

        Returns:
            The functional model.
        """
        import keras

        renamed = _unique_names(outputs, tensors, self.names)
        before = [(operation, operation.name) for operation, _ in renamed]
        try:
            for operation, name in renamed:
                operation.name = name
            shared = keras.Model(inputs, outputs, name=self.root.name)
            flat = clone(shared, clone_function=_clone)
        finally:
            for operation, name in before:
                operation.name = name
        for new, old in zip(flat.layers, shared.layers, strict=True):
            if new is not old:
                new.set_weights(old.get_weights())
                new.trainable = old.trainable
        return flat


def _own_weights(layer: keras.Layer) -> str | None:
    """Why a layer can't be entered: its own weights would belong to no layer."""
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    if not own:
        return None
    return f"has weights of its own ({', '.join(v.name for v in own[:3])})"


def _reason(error: Exception) -> str:
    """What stopped the recording, in the user's terms."""
    text = str(error)
    if "boolean" in text or "__bool__" in text or "iterat" in text.lower():
        return "its Python decides by the value of a tensor"
    if "TensorFlow" in text or "tf." in text or "KerasTensor" in text:
        return "it calls a TensorFlow function on a Keras tensor"
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _unique_names(
    outputs: Any, tensors: list[keras.KerasTensor], names: dict[int, str]
) -> list[tuple[keras.KerasTensor, str]]:
    """A unique name for each recorded operation: the place of a layer, an operation's own."""
    import keras

    stops = {id(t._keras_history.operation) for t in tensors}
    taken = {t._keras_history.operation.name for t in tensors}
    pending = list(reversed(keras.tree.flatten(outputs)))
    seen: set[int] = set()
    found: list[tuple[Any, str]] = []
    while pending:
        operation, index, _ = pending.pop()._keras_history
        if id(operation) not in seen and id(operation) not in stops:
            seen.add(id(operation))
            name = _free(names.get(id(operation), operation.name), taken)
            taken.add(name)
            found.append((operation, name))
        node = operation._inbound_nodes[index]
        if not node.is_input and id(node) not in seen:
            seen.add(id(node))
            pending += node.input_tensors
    return found


def _free(name: str, taken: set[str]) -> str:
    name = name.replace("/", "_")
    place = 1
    while (name if place == 1 else f"{name}_{place}") in taken:
        place += 1
    return name if place == 1 else f"{name}_{place}"


def _clone(operation: keras.Operation) -> keras.Operation:
    """A copy of a layer, or the layer itself where its class can't be made from its settings."""
    import keras

    try:
        if isinstance(operation, keras.Model):
            return clone(operation)
        if isinstance(operation, keras.Layer):
            return copy_layer(operation)
        return type(operation).from_config(operation.get_config())
    except Exception:
        return operation


def _check(model: keras.Model, wanted: list[NDArray[Any]], found: list[NDArray[Any]]) -> None:
    for a, b in zip(wanted, found, strict=True):
        if a.shape != b.shape or np.abs(a - b).max(initial=0) > _TOLERANCE * max(
            np.abs(a).max(initial=0), 1e-6
        ):
            raise InputError(
                f"'{model.name}' gives different outputs when flattened",
                "its call depends on more than its inputs; build it with the functional API",
            )
