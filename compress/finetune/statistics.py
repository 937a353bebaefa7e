"""Moving statistics of batch normalisation that keep up with a recovery.

Keras averages them over the last hundred batches or so. After a cut they are wrong at first, and on
a small data set a whole epoch passes before they are right again: what is validated until then, and
what a short recovery ends with, is a model that normalises by figures of a network that is no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# An average looks back over a fifth of an epoch, and over five batches at least.
_PARTS = 5
_LEAST = 1 - 1 / 5


@contextmanager
def prompt_statistics(model: Any, steps: int) -> Iterator[None]:
    """Let moving statistics look back over a part of an epoch at most while a block runs.

    Args:
        model: A Keras model that the caller owns; its layers are as before afterwards, and a layer
            that looks back less far stays as it is.
        steps: Batches in an epoch.
    """
    import keras

    kind = keras.layers.BatchNormalization
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, kind)]
    before = [layer.momentum for layer in layers]
    most = max(_LEAST, 1 - _PARTS / max(steps, 1))
    for layer in layers:
        layer.momentum = min(layer.momentum, most)
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
