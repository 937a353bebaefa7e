"""What a saved model holds, whatever the format: a configuration and weights by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Tensor = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Weight:
    """One saved array and the name it was saved under (may be empty)."""

    name: str
    value: Tensor

    @property
    def leaf(self) -> str:
        """The last part of the name, without TensorFlow's ':0' and a counting suffix."""
        return self.name.rpartition("/")[2].partition(":")[0]


@dataclass(frozen=True)
class LayerWeights:
    """The arrays of one layer: either flat in the layer's old order, or by attribute.

    Args:
        flat: Arrays in the order of the old layer's `weights` (own and inner ones together).
        own: Arrays of the layer itself, where inner layers have entries of their own.
        children: Inner layers by the attribute or the name that holds them.
    """

    flat: tuple[Weight, ...] | None = None
    own: tuple[Weight, ...] = ()
    children: Mapping[str, LayerWeights] = field(default_factory=dict)

    def arrays(self) -> Iterator[Weight]:
        """Every array, own ones first."""
        yield from self.flat or ()
        yield from self.own
        for child in self.children.values():
            yield from child.arrays()


@dataclass(frozen=True)
class Saved:
    """A saved model, read but not yet translated.

    Args:
        model: `{"class_name": …, "config": …}` of the model.
        weights: Arrays by the layer's saved name; by position in `model` for archives.
        keras: Version of Keras that wrote it, "1" where the file names none.
        backend: "tensorflow", "theano", … where the file says so.
        what: What the file is, for messages and notes.
        training: Saved `compile` arguments, where present.
        optimizer: Arrays of the optimizer in the saved order, where they are read.
        notes: What was remarked while reading.
        traced: Gives the traced function of a layer by its name, None where there is none.
    """

    model: dict[str, Any]
    weights: Mapping[str, LayerWeights]
    keras: str
    backend: str
    what: str
    training: Mapping[str, Any] | None = None
    optimizer: tuple[Weight, ...] = ()
    notes: tuple[str, ...] = ()
    traced: Callable[[str], Any] | None = None

    @property
    def is_keras1(self) -> bool:
        """Whether the configuration is in Keras 1's terms."""
        return self.keras.startswith(("0.", "1."))


def plain(value: Any) -> Any:
    """A saved JSON value with TensorFlow's wrappers of tuples and shapes resolved to lists."""
    if isinstance(value, dict):
        if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
            return [plain(item) for item in value["items"]]
        if value.get("class_name") == "__keras_tensor__":
            return value
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
