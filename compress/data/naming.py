"""Which array goes to which input and output of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.tasks import output_names

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Nested


def by_name(inputs: Nested, targets: Nested, model: keras.Model) -> tuple[Any, Any]:
    """Arrays by the names of a model's inputs and outputs, where they come as several.

    Args:
        inputs: A list in the model's order, a mapping by name, or one by the keys under which the
            model takes its inputs (`keras.Model({"left": a, "right": b}, …)`).
        targets: The same of outputs.
        model: The Keras model.

    Returns:
        Both as mappings by name; anything else as it is.
    """
    sides = (
        (inputs, "input", [tensor.name for tensor in model.inputs]),
        (targets, "output", list(output_names(model))),
    )
    named = [_named(given, model, side, names) for given, side, names in sides]
    return named[0], named[1]


def weights_by_name(weights: Any, model: keras.Model) -> Any:
    """Weights of samples by the names of a model's outputs, where they come as several.

    Args:
        weights: As targets for `by_name`; of outputs whose samples all count alike, None.
        model: The Keras model.
    """
    if isinstance(weights, list | tuple) and not all(w is None or np.ndim(w) for w in weights):
        return weights  # numbers: one for each sample
    named = _named(weights, model, "output", list(output_names(model)))
    if isinstance(named, Mapping):
        return {name: value for name, value in named.items() if value is not None}
    return named


def _named(given: Any, model: keras.Model, side: str, names: Sequence[str]) -> Any:
    if isinstance(given, Mapping):
        if given.keys() <= set(names):
            return given
        keys = _keys(model, side, names)
        return {keys.get(key, key): value for key, value in given.items()}
    if len(names) > 1 and isinstance(given, list | tuple) and len(given) == len(names):
        return dict(zip(names, given, strict=True))
    return given


def _keys(model: keras.Model, side: str, names: Sequence[str]) -> dict[str, str]:
    """Names by the keys under which a model takes or gives its tensors, if it has such keys."""
    structure = getattr(model, side, None)
    if not isinstance(structure, Mapping):
        return {}
    tensors = zip(names, getattr(model, f"{side}s"), strict=True)
    places = {id(tensor): name for name, tensor in tensors}
    return {key: places[id(value)] for key, value in structure.items() if id(value) in places}
