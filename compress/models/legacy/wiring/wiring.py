"""How old configurations say which layer is called on what: the `inbound_nodes`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.wiring.masking import mask_of

if TYPE_CHECKING:
    import keras

_CONSTANT = "_CONSTANT_VALUE"
_NOTHING = object()


def is_reference(value: Any, names: Mapping[str, Any] | set[str]) -> bool:
    """Whether a value is `[layer, call, tensor]` or `[layer, call, tensor, {arguments}]`."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and (value[0] in names or value[0] == _CONSTANT)
        and isinstance(value[1], int)
    )


class Wiring:
    """The tensors of a graph as they come into being.

    Args:
        specs: The saved layers.
        name: The model, for messages.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]], name: str) -> None:
        self.name = name
        self.names = {str(spec["name"]) for spec in specs}
        self.outputs: dict[str, list[list[Any]]] = {n: [] for n in self.names}
        self._first: dict[str, int] = {}
        for spec in specs:
            self._count(spec.get("inbound_nodes") or [])

    def _count(self, value: Any) -> None:
        """Remember the lowest call index of each layer: nested models count from 1."""
        if is_reference(value, self.names):
            name, call = value[0], value[1]
            self._first[name] = min(self._first.get(name, call), call)
            value = value[3:]
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                self._count(item)

    def count_outputs(self, value: Any) -> None:
        """Take the references of the model's own outputs into account."""
        self._count(value)

    def tensor(self, reference: Sequence[Any]) -> Any:
        """The tensor that a reference names; `_NOTHING` where its call is still to come."""
        if reference[0] == _CONSTANT:
            return reference[2]
        calls = self.outputs[reference[0]]
        index = reference[1] - self._first.get(reference[0], 0)
        if index >= len(calls):
            return _NOTHING
        return calls[index][reference[2]]

    def resolve(self, value: Any, constants: bool = True) -> Any:
        """A structure with its references replaced by tensors; `_NOTHING` where one is missing."""
        if is_reference(value, self.names) and (constants or value[0] != _CONSTANT):
            return self.tensor(value)
        if isinstance(value, dict):
            found: Any = {key: self.resolve(item) for key, item in value.items()}
            return _NOTHING if any(v is _NOTHING for v in found.values()) else found
        if isinstance(value, list):
            found = [self.resolve(item) for item in value]
            return _NOTHING if any(v is _NOTHING for v in found) else found
        return value

    def call(self, node: Any) -> tuple[Any, dict[str, Any]] | None:
        """Inputs and arguments of a saved call; None where a tensor isn't there yet."""
        inputs = self.resolve(node)
        arguments = self.resolve(_arguments(node, self.names))
        if inputs is _NOTHING or arguments is _NOTHING:
            return None
        return inputs, arguments

    def run(self, specs: Sequence[Mapping[str, Any]], called: Callable[..., Any]) -> None:
        """Make every saved call, in any order in which its inputs exist.

        Args:
            specs: The saved layers; input layers have their output already.
            called: Called with (spec, inputs, arguments); gives the flat list of outputs.

        Raises:
            InputError: The calls depend on each other in a circle, or on a missing layer.
        """
        waiting = [(spec, node) for spec in specs for node in spec.get("inbound_nodes") or []]
        while waiting:
            still = []
            blocked: set[str] = set()
            for spec, node in waiting:
                name = str(spec["name"])
                ready = None if name in blocked else self.call(node)
                if ready is None:
                    blocked.add(name)
                    still.append((spec, node))
                else:
                    self.outputs[name].append(called(spec, *ready))
            if len(still) == len(waiting):
                names = ", ".join(sorted({str(spec["name"]) for spec, _ in still})[:3])
                raise InputError(
                    f"the graph of '{self.name}' is broken: {names} depend on missing nodes",
                    "the file is damaged or was edited",
                )
            waiting = still


def _arguments(node: Any, names: set[str]) -> dict[str, Any]:
    """The call's keyword arguments: saved with each of its inputs, the first is enough."""
    if is_reference(node, names):
        return dict(node[3]) if len(node) == 4 and isinstance(node[3], dict) else {}
    items = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for item in items:
        found = _arguments(item, names)
        if found:
            return found
    return {}


def call_layer(
    layer: keras.Layer, inputs: Any, arguments: Mapping[str, Any]
) -> list[keras.KerasTensor]:
    """Call a Keras 3 layer as the old one was called.

    Args:
        layer: The layer or model.
        inputs: A tensor, or a structure of tensors.
        arguments: Saved keyword arguments of the call.

    Returns:
        The outputs, flat.
    """
    import keras

    kept = {key: item for key, item in arguments.items() if item is not None and key != "name"}
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    recurrent = isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional)
    if recurrent and isinstance(inputs, list):
        kept["initial_state"] = inputs[1:]
        inputs = inputs[0]
        # With states given, Keras 3 doesn't find the mask of the sequence itself.
        kept.setdefault("mask", mask_of(inputs))
    kept = {key: item for key, item in kept.items() if item is not None}
    known = inspect.signature(layer.call).parameters
    if not any(p.kind == p.VAR_KEYWORD for p in known.values()):
        kept = {key: item for key, item in kept.items() if key in known}
    output = layer(inputs, **kept)
    return list(keras.tree.flatten(output))


def crops_everything(layer: keras.Layer, inputs: Any) -> bool:
    """Whether a cropping layer leaves nothing: old Keras allowed that, Keras 3 refuses."""
    cropping = getattr(layer, "cropping", None)
    if not type(layer).__name__.startswith("Cropping") or cropping is None:
        return False
    sizes = _one(inputs).shape[1:]
    sizes = sizes[1:] if getattr(layer, "data_format", "") == "channels_first" else sizes[:-1]
    pairs = [cropping] if isinstance(cropping[0], int) else cropping
    return any(
        n is not None and before + after >= n
        for n, (before, after) in zip(sizes, pairs, strict=True)
    )


def crop(layer: keras.Layer, inputs: Any) -> Any:
    """Crop by slicing."""
    pairs = [layer.cropping] if isinstance(layer.cropping[0], int) else layer.cropping
    first = getattr(layer, "data_format", "") == "channels_first"
    every = [slice(None)] * (2 if first else 1)
    return _one(inputs)[(*every, *(slice(a, -b if b else None) for a, b in pairs))]


def _one(inputs: Any) -> keras.KerasTensor:
    return inputs[0] if isinstance(inputs, list) else inputs
