"""A configuration can declare any width: layers may take no more than the numbers of their file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import memory_limit

if TYPE_CHECKING:
    import keras

# Layers with states that no file holds (generators of random numbers, counters) are small.
_BESIDE_BYTES = 64 * 2**20
# Weights are counted as four bytes each; quantised models keep them in one or fewer.
_WIDER = 8


@contextmanager
def weights_within(declared: int, path: Any, file_bytes: int) -> Iterator[None]:
    """Refuse a weight before it is made, where the file can't hold its numbers.

    Keras makes a layer's weights, with drawn values, before it looks for them in the file. Here
    they are zeros until then: drawing took a tenth of the time that a file is read in, and a third
    of a large model's bytes, which TensorFlow doesn't give back.

    Args:
        declared: Bytes of all numbers that the file declares.
        path: The file, for messages.
        file_bytes: Bytes of the file.

    Raises:
        InputError: The weights of the layers take more; names the layer at which they do.
    """
    import keras

    plain = keras.layers.Layer.add_weight
    limit = min(_WIDER * declared + _BESIDE_BYTES, max(_WIDER * declared, memory_limit(file_bytes)))
    taken = 0

    def add_weight(
        layer: keras.Layer, shape: Any = None, *args: Any, **named: Any
    ) -> keras.Variable:
        nonlocal taken
        sizes = (shape,) if isinstance(shape, int) else tuple(shape or ())
        if all(isinstance(size, int) for size in sizes):
            taken += 4 * math.prod(sizes)
        if taken > limit:
            raise InputError(
                f"'{path}' declares more than it holds: with layer '{layer.name}' (a weight of"
                f" {' x '.join(map(str, sizes))}) its layers take {taken:,} bytes, and its numbers"
                f" {declared:,}",
                "copy or download it again",
            )
        if args:
            args = (_undrawn(args[0]), *args[1:])
        else:
            named["initializer"] = _undrawn(named.get("initializer"))
        return plain(layer, shape, *args, **named)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = plain


def _undrawn(initializer: Any) -> Any:
    """Zeros in place of an initializer that draws; all others give values that may be kept."""
    import keras
    from keras.src.initializers.random_initializers import RandomInitializer

    made = keras.initializers.get(initializer) if isinstance(initializer, str) else initializer
    return "zeros" if made is None or isinstance(made, RandomInitializer) else initializer
