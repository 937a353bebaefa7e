"""Calls of the original graph, and what layers inside of a layer are given in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgepress.compress.structure.surgery.surgery import Surgery
from edgepress.compress.structure.tracing.replay import Tensors

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Node, Tensor


def called(node: Node, tensors: Tensors) -> list[tf.Tensor]:
    """The outputs of a call of the original."""
    import keras

    args, kwargs = node.arguments.fill_in(tensors)
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))


def inner_inputs(
    layer: keras.Layer,
    names: list[str],
    node: Node,
    tensors: Tensors,
    surgery: Surgery | None = None,
) -> dict[str, tf.Tensor]:
    """What some layers inside a layer are given when it is called."""
    found: dict[str, tf.Tensor] = {}
    with _listening(layer, names, found):
        if surgery is not None:
            surgery.call(node, tensors)
        else:
            args, kwargs = node.arguments.fill_in(tensors)
            layer(*args, **kwargs)
    return found


@contextmanager
def _listening(layer: keras.Layer, names: list[str], found: dict[str, tf.Tensor]) -> Iterator[None]:
    """Note the input of inner layers; they are as before when the block is left."""
    inner = [getattr(layer, name) for name in names]

    def listen(name: str, call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def heard(inputs: Tensor) -> Tensor:
            found[name] = inputs
            return call(inputs)

        return heard

    for name, part in zip(names, inner, strict=True):
        part.call = listen(name, part.call)
    try:
        yield
    finally:
        for part in inner:
            del part.call
