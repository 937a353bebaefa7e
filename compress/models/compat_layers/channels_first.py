"""Convolutions with the channels first, on processors for which TensorFlow has no such kernels.

TensorFlow convolves channels first on a CPU only through oneDNN, which it doesn't use on every
processor, and never in a gradient. Keras computes its depthwise convolutions and its pooling with
the channels last there; here that is done for the other convolutions, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_DONE = "_edgepress_channels_last"


def support_channels_first() -> None:
    """Let Keras convolve with the channels last wherever no GPU is there to do otherwise.

    Keras's layers, operations and recurrent cells all convolve through the two functions that are
    replaced, so models keep their classes, and what is saved loads without edgepress.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    from keras.src.backend.tensorflow import nn
    from tensorflow import config

    if not config.list_physical_devices("GPU"):
        for name in ("conv", "conv_transpose"):
            if not hasattr(getattr(nn, name), _DONE):
                setattr(nn, name, _turned(getattr(nn, name)))


def _turned(convolve: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which moves the channels last and back where they are first."""
    signature = inspect.signature(convolve)

    @wraps(convolve)
    def call(*arguments: Any, **settings: Any) -> Tensor:
        given = signature.bind(*arguments, **settings).arguments
        if given.get("data_format") != "channels_first":
            return convolve(**given)
        from tensorflow import transpose

        rank = len(given["inputs"].shape)
        inputs = transpose(given["inputs"], [0, *range(2, rank), 1])
        last = convolve(**{**given, "inputs": inputs, "data_format": "channels_last"})
        return transpose(last, [0, rank - 1, *range(1, rank - 1)])

    setattr(call, _DONE, True)
    return call
