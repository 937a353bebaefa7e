"""Which activations look at one number at a time, and which at several channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

# Keras's own that mix the channels, so that removing one changes the others.
_MIXING = frozenset({"softmax", "log_softmax", "sparsemax", "sparse_softmax", "glu"})


def mixes(layer: keras.Layer) -> bool:
    """Whether an activation of a layer, or of a recurrent cell, looks at more than one channel."""
    names = ("activation", "recurrent_activation")
    return any(_mixes(getattr(layer, name, None)) for name in names)


def _mixes(activation: Callable[[Tensor], Tensor] | None) -> bool:
    if activation is None:
        return False
    if isinstance(activation, keras.Layer):
        from edgepress.compress.structure.rules.elementwise import SAME
        from edgepress.compress.structure.rules.lookup import rule_for

        return rule_for(activation) is not SAME
    if getattr(activation, "__module__", "").startswith("keras.src.activations."):
        return activation.__name__ in _MIXING
    return not _is_elementwise(activation)


def _is_elementwise(function: Callable[[Any], Any]) -> bool:
    """Whether a part of what goes in gives that part of what comes out; found by trying."""
    whole = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    part = (slice(1), slice(2), slice(3))
    try:
        expected = np.asarray(function(keras.ops.convert_to_tensor(whole)))[part]
        found = np.asarray(function(keras.ops.convert_to_tensor(whole[part])))
    except Exception:  # whatever a function of the user's own raises
        return False
    return expected.shape == found.shape and np.allclose(expected, found, 1e-4, 1e-5)
