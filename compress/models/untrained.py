"""Whether a model's weights are still those that it was made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

# Weights that begin as a constant, and move with the first step of any training.
_CONSTANT = ("bias", "beta", "gamma", "moving_mean", "moving_variance")


def initial_weights(model: keras.Model) -> tuple[str, ...]:
    """Kinds of weights that all hold the constants they begin with; empty once one has moved.

    Args:
        model: A built Keras model.

    Returns:
        Of "bias", "beta", "gamma", "moving_mean", "moving_variance" those that the model has;
        empty where it has none, which says nothing.
    """
    kinds: list[str] = []
    for kind, initial in _constants(model):
        if not initial:
            return ()
        kinds.append(kind)
    return tuple(kind for kind in _CONSTANT if kind in kinds)


def has_constants(model: keras.Model) -> bool:
    """Whether a model has weights that begin as a constant, and so tell of a training."""
    return next(_constants(model), None) is not None


def _constants(model: keras.Model) -> Iterator[tuple[str, bool]]:
    """Each weight with a constant for a start: its kind, and whether it is that constant still."""
    for layer in model._flatten_layers():
        for kind in _CONSTANT:
            variable = getattr(layer, kind, None)
            start = _start(layer, kind)
            if start is not None and variable is not None and hasattr(variable, "numpy"):
                yield kind, bool(np.all(variable.numpy() == start))


def _start(layer: keras.Layer, kind: str) -> float | None:
    """The constant that a weight begins with, or None where it begins otherwise."""
    import keras

    known = keras.initializers
    initializer = getattr(layer, f"{kind}_initializer", None)
    if kind == "bias" and getattr(layer, "unit_forget_bias", False):
        return None
    if isinstance(initializer, known.Constant):
        return float(initializer.value)
    return {known.Zeros: 0.0, known.Ones: 1.0}.get(type(initializer))
