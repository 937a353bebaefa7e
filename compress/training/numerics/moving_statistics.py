"""Moving statistics of batch normalisation that keep up with a training.

Keras averages them over the last hundred batches or so, MobileNetV3 over the last thousand. On a
small data set they then still hold what they began with when the training ends: what is validated
is a model that normalises by figures of a network that is no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# An average looks back over a fifth of an epoch, and over five batches at least.
_PARTS = 5
_LEAST = 1 - 1 / 5
# Says on a model that a block is running.
_MARK = "_edgepress_prompt_statistics"


class LookBack:
    """Moving statistics that are the mean of the batches so far while those are few.

    What they held before the training is gone after its first step, however short it is.
    """

    def __init__(self) -> None:
        self._momenta: dict[float, Any] = {}

    def bounded(self, momentum: float) -> tf.Variable:
        """A momentum that grows to the given one, as a variable that traced functions read."""
        import tensorflow as tf

        if momentum not in self._momenta:
            self._momenta[momentum] = tf.Variable(0.0, trainable=False)
        return self._momenta[momentum]

    def move(self, done: int) -> None:
        """Set the momenta for the step that follows `done` steps of the training."""
        for momentum, variable in self._momenta.items():
            variable.assign(min(momentum, done / (done + 1)))


def is_prompt(model: keras.Model) -> bool:
    """Whether a model is inside a block of `prompt_statistics`."""
    return bool(vars(model).get(_MARK, False))


@contextmanager
def prompt_statistics(
    model: keras.Model, steps: int, look_back: LookBack | None = None
) -> Iterator[None]:
    """Let moving statistics look back over a part of an epoch at most while a block runs.

    A layer's momentum becomes part of the functions that are traced inside the block, and stays
    theirs afterwards; a training inside it lets the momenta grow over its first steps.

    Args:
        model: A Keras model that the caller owns; its layers are as before afterwards, and a layer
            that looks back less far, or whose statistics are held by a momentum of 1, stays as it
            is.
        steps: Batches in an epoch.
        look_back: Lets the momenta grow over the first steps; None keeps them as they are.
    """
    import keras

    kind = keras.layers.BatchNormalization
    layers = [
        layer for layer in model._flatten_layers() if isinstance(layer, kind) and layer.momentum < 1
    ]
    before = [layer.momentum for layer in layers]
    outer = is_prompt(model)
    vars(model)[_MARK] = True
    most = max(_LEAST, 1 - _PARTS / max(steps, 1))
    for layer in layers:
        momentum = min(layer.momentum, most)
        # Past Keras's tracking: a variable here is no part of the layer's state.
        vars(layer)["momentum"] = momentum if look_back is None else look_back.bounded(momentum)
    try:
        yield
    finally:
        vars(model)[_MARK] = outer
        for layer, momentum in zip(layers, before, strict=True):
            vars(layer)["momentum"] = momentum
