"""Models inside models that are called on another shape than they were built for.

Keras 2 warned of that at most, Keras 3 refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Shape = tuple[int | None, ...]


def shapes_of(tensors: Sequence[keras.KerasTensor]) -> list[Shape]:
    """The shape of each tensor of a structure, with the batch."""
    import keras

    return [tuple(tensor.shape) for tensor in keras.tree.flatten(tensors)]


def takes(model: keras.Model, shapes: Sequence[Shape]) -> bool:
    """Whether Keras 3 lets a model be called on tensors of these shapes."""
    known = [tuple(tensor.shape) for tensor in model.inputs]
    return len(known) != len(shapes) or all(map(_agree, known, shapes))


def _agree(known: Shape, given: Shape) -> bool:
    if len(known) != len(given):
        longer, shorter = sorted((known, given), key=len, reverse=True)
        return longer[-1] == 1 and len(longer) == len(shorter) + 1
    return all(a == b or a is None or b is None for a, b in zip(known, given, strict=True))


def chains(start: Any, layers: Sequence[Any]) -> bool:
    """Whether layers can follow one another from a tensor on, as far as models in them go."""
    shape: Any = tuple(start.shape)
    for layer in layers:
        if getattr(layer, "inputs", None) and not takes(layer, [shape]):
            return False
        try:
            shape = tuple(layer.compute_output_shape(shape))
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            return False
    return True


def resized(spec: Mapping[str, Any], shapes: Sequence[Shape]) -> dict[str, Any]:
    """A saved model with other input shapes.

    Args:
        spec: Its `{class_name, config}`; the configuration is a Sequential's or a graph's.
        shapes: A shape for each of its inputs, with the batch.
    """
    config = spec["config"]
    layers = list(config if isinstance(config, list) else config["layers"])
    names = _input_names(config)
    for place, layer in enumerate(layers):
        known = (layer.get("config") or {}) if isinstance(layer.get("config"), Mapping) else {}
        name = layer.get("name") or known.get("name")
        which = names.index(name) if name in names else None if names else place or 0
        if known and which is not None and which < len(shapes):
            kept = {key: value for key, value in known.items() if key != "batch_shape"}
            shape = list(shapes[which])
            layers[place] = {**layer, "config": {**kept, "batch_input_shape": shape}}
    made = layers if isinstance(config, list) else {**config, "layers": layers}
    return {**spec, "config": made}


def _input_names(config: Any) -> list[str]:
    """The names of a graph's input layers in order; none for a Sequential."""
    given = config.get("input_layers") if isinstance(config, Mapping) else None
    if isinstance(given, Mapping):
        given = list(given.values())
    if given and isinstance(given[0], str):
        given = [given]
    return [str(item[0]) for item in given or ()]
