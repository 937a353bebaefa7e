"""Keras operations in the words that file formats know, for the time of tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock


@contextmanager
def plain_operations() -> Iterator[None]:
    """Trace `argmax` and `argmin` as the one operator that they are.

    Keras tells -0.0 from 0.0 in them by the bits of a float, which neither TFLite nor ONNX has an
    operator for. Only where the largest (smallest) numbers are zeros of both signs does the plain
    operator give another index.
    """
    from keras.src import backend

    with ExitStack() as stack:
        for name in ("argmax", "argmin"):
            stack.enter_context(mock.patch.object(backend.numpy, name, _plain(name)))
        yield


def _plain(name: str) -> Callable[..., Any]:
    import tensorflow as tf

    def index(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        x = tf.convert_to_tensor(x)
        rank = len(x.shape)
        flat = tf.reshape(x, [-1]) if axis is None else x
        found = getattr(tf, name)(flat, axis=axis or 0, output_type=tf.int32)
        if not keepdims:
            return found
        return tf.reshape(found, [1] * rank) if axis is None else tf.expand_dims(found, axis)

    return index
