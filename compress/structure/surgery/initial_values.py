"""Weights that begin with the values that are left to them.

Keras draws or zeroes a weight when its layer is built; overwriting it afterwards takes as long
again, for each of hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Values = Callable[[Any], Shaped[np.ndarray, "..."]]


class InitialValues:
    """What the weights of new layers begin with.

    Args:
        values: What is left of a weight of the original.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._given: dict[int, tuple[Any, Any]] = {}
        self._layers: list[Any] = []

    def give(self, old: keras.Layer, new: keras.Layer) -> None:
        """Let weights that a layer is yet to make begin as those of the same name in the old one.

        It is done for Keras's own layers: another's `build` may change what it has just made.
        """
        own = [*old._trainable_variables, *old._non_trainable_variables]
        named = {variable.name: variable for variable in own}
        if len(named) < len(own) or not type(new).__module__.startswith("keras."):
            return
        add_weight = new.add_weight

        def add(*args: Any, **kwargs: Any) -> keras.Variable:
            before = named.get(kwargs.get("name"))
            if before is None:
                return add_weight(*args, **kwargs)
            fits: list[Any] = []
            kwargs["initializer"] = self._initializer(before, kwargs.get("initializer"), fits)
            made = add_weight(*args, **kwargs)
            if fits:
                self._given[id(made)] = (made, before)
            return made

        vars(new)["add_weight"] = add
        self._layers.append(new)

    def _initializer(
        self,
        before: keras.Variable,
        otherwise: str | keras.Initializer | None,
        fits: list[keras.Variable],
    ) -> Callable[..., tf.Tensor]:
        import keras

        def initial(shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
            value = self._values(before)
            if value.shape != tuple(shape):
                return keras.initializers.get(otherwise or "zeros")(shape, dtype=dtype)
            fits.append(before)
            return keras.ops.convert_to_tensor(value, dtype=dtype)

        return initial

    def end(self) -> None:
        """Let the layers make weights as ever."""
        for layer in self._layers:
            del vars(layer)["add_weight"]
        self._layers.clear()

    def missing(
        self, old: keras.Layer, new: keras.Layer
    ) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        """Pairs of variables of two layers of which the new one hasn't begun with its value."""
        for before, after in zip(old.variables, new.variables, strict=True):
            if self._given.get(id(after), (None, None))[1] is not before:
                yield before, after
