"""Keras operations in the words that file formats know, for the time of tracing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np


@contextmanager
def plain_operations(sums_as_means: bool = False) -> Iterator[None]:
    """Trace some of Keras's operations in other words.

    `argmax` and `argmin` are the one operator that they are. Keras tells -0.0 from 0.0 in them by
    the bits of a float, which neither TFLite nor ONNX has an operator for. Only where the largest
    (smallest) numbers are zeros of both signs does the plain operator give another index.

    Args:
        sums_as_means: Whether a sum is a mean times a number. To TFLite's converter the sum of
            16-bit numbers has the range of its terms, and saturates.
    """
    from keras.src import backend

    others = {name: _plain(name) for name in ("argmax", "argmin")}
    if sums_as_means:
        others["sum"] = _sum_as_mean(backend.numpy.sum)
    with ExitStack() as stack:
        for name, function in others.items():
            stack.enter_context(mock.patch.object(backend.numpy, name, function))
        yield


def _sum_as_mean(own: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def total(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = tf.convert_to_tensor(x)
        axes = range(len(x.shape)) if axis is None else np.atleast_1d(axis)
        sizes = [x.shape[int(a)] for a in axes]
        if not x.dtype.is_floating or None in sizes:
            return own(x, axis=axis, keepdims=keepdims)
        return tf.reduce_mean(x, axis, keepdims) * float(math.prod(sizes))

    return total


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
