"""Layers of Keras 3 that are called otherwise than the saved ones were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress.compress.models.legacy.wiring.wiring import call_layer

if TYPE_CHECKING:
    import keras


class Rewired:
    """A layer and how it is called.

    Args:
        layer: The Keras 3 layer.
    """

    def __init__(self, layer: keras.Layer) -> None:
        self.layer = layer
        self.name = layer.name

    @property
    def weights(self) -> list[keras.Variable]:
        """The layer's."""
        return self.layer.weights

    def apply(self, inputs: Any, arguments: dict[str, Any]) -> list[keras.KerasTensor]:
        """Call the layer on symbolic tensors."""
        raise NotImplementedError


class CausalAttention(Rewired):
    """An attention layer that was saved as causal: today that is an argument of its call."""

    def apply(self, inputs: Any, arguments: dict[str, Any]) -> list[keras.KerasTensor]:
        """Call the layer on symbolic tensors."""
        return call_layer(self.layer, inputs, {**arguments, "use_causal_mask": True})


class TimeMajor(Rewired):
    """A recurrent layer whose first axis was time: its input and output are turned."""

    def apply(self, inputs: Any, arguments: dict[str, Any]) -> list[keras.KerasTensor]:
        """Turn, call, turn back."""
        from keras import ops

        first, *states = inputs if isinstance(inputs, list) else [inputs]
        turned = ops.swapaxes(first, 0, 1)
        found = call_layer(self.layer, [turned, *states] if states else turned, arguments)
        inner = getattr(self.layer, "forward_layer", self.layer)
        if not inner.return_sequences:
            return found
        return [ops.swapaxes(found[0], 0, 1), *found[1:]]


def take_time_major(config: dict[str, Any]) -> bool:
    """Whether a recurrent layer, or the one in a Bidirectional, is time-major; the flag is taken.

    Args:
        config: The layer's own copy of its configuration, changed in place.
    """
    found = bool(config.pop("time_major", False))
    for key in ("layer", "backward_layer"):
        inner = config.get(key)
        if isinstance(inner, dict) and (inner.get("config") or {}).get("time_major"):
            config[key] = {**inner, "config": {**inner["config"], "time_major": False}}
            found = True
    return found
