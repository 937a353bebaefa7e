"""Texts in arrays, as a model with a look-up or a vectorization inside takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]


def takes_text(tensor: keras.KerasTensor) -> bool:
    """Whether an input of a model is of strings."""
    return str(getattr(tensor.dtype, "name", tensor.dtype)) == "string"


def as_texts(array: Array, shape: tuple[int | None, ...], what: str) -> Array:
    """Texts in UTF-8 in the shape that a model takes.

    Args:
        array: (samples, …) array of texts.
        shape: Of the model's input, without the samples.
        what: What they are, for messages.

    Returns:
        (samples, *shape) array of `bytes`.

    Raises:
        InputError: A value is no text, or the shape doesn't fit.
    """
    if array.dtype.kind not in "USO":
        raise InputError(
            f"{what} holds {array.dtype} values, the model takes text", "give an array of strings"
        )
    if array.ndim == len(shape) and shape and shape[-1] == 1:
        array = array[..., None]
    if array.ndim == len(shape) + 2 and array.shape[-1] == 1:
        array = array[..., 0]
    fits = array.ndim == len(shape) + 1 and all(
        e in (None, n) for e, n in zip(shape, array.shape[1:], strict=True)
    )
    if not fits:
        raise InputError(
            f"{what}: samples have shape {array.shape[1:]}, the model takes {shape} of text"
        )
    found = np.empty(array.shape, object)
    for place, value in enumerate(array.flat):
        found.flat[place] = _encoded(value, place, what)
    return found


def _encoded(value: object, place: int, what: str) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    if not isinstance(value, str):
        raise InputError(
            f"{what} holds {value!r:.40} of type {type(value).__name__} at place {place}, no text",
            "give strings; an empty one where there is none",
        )
    return value.encode("utf-8", "surrogatepass")


def packed(array: Array) -> bytes:
    """The content of an array as bytes, that of texts with their lengths."""
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    texts = [v if isinstance(v, bytes) else repr(v).encode() for v in array.flat]
    return b"".join(b"%d:%b" % (len(text), text) for text in texts)
