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
        keras: Version of Keras that wrote it, empty where the file names none.
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
        """Whether the configuration is in Keras 1's terms; they tell where no version does."""
        if not self.keras:
            return not _KERAS2 & _keys(self.model)
        return self.keras.startswith(("0.", "1."))


# Settings that every layer with weights, or of images, has from Keras 2 on.
_KERAS2 = {
    "kernel_initializer",
    "embeddings_initializer",
    "gamma_initializer",
    "data_format",
    "dtype",
}


def _keys(value: Any) -> set[str]:
    """Every key in a JSON value, however deep."""
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


def plain(value: Any) -> Any:
    """A saved JSON value with TensorFlow's wrappers of tuples and shapes resolved to lists."""
    if isinstance(value, dict):
        if value.keys() == {"class_name", "items"}:  # a tuple, a TensorShape, a ListWrapper
            return [plain(item) for item in value["items"]]
        if value.get("class_name") == "__keras_tensor__":
            return value
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
