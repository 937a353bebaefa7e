"""What a tf_keras model computes, also where the processor lacks TensorFlow's kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


def outputs_of(model: Any, x: Any) -> list[Any]:
    """The flat outputs in inference.

    TensorFlow convolves with the channels first on some processors only; XLA does on all.
    """
    import tensorflow as tf

    try:
        return tf.nest.flatten(model(x, training=False))
    except _no_kernel():
        with _compiled_where_needed(model):
            return tf.nest.flatten(model(x, training=False))


def _no_kernel() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return tf.errors.UnimplementedError, tf.errors.InvalidArgumentError


@contextmanager
def _compiled_where_needed(model: Any) -> Iterator[None]:
    """Let XLA compute the layers that have no kernel, and no others.

    XLA's own bilinear resizing by 3 is wrong, so what TensorFlow can compute it has to.
    """
    import tf_keras

    kind = tf_keras.layers.Layer
    found = {id(each): each for each in model.submodules if isinstance(each, kind)}
    layers = [each for each in found.values() if not isinstance(each, tf_keras.Model)]
    for layer in layers:
        layer.call = _attempt(layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _attempt(call: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    @wraps(call)
    def attempt(*arguments: Any, **settings: Any) -> Any:
        try:
            return call(*arguments, **settings)
        except _no_kernel():
            return tf.function(call, jit_compile=True)(*arguments, **settings)

    return attempt
