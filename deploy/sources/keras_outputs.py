"""Outputs of a Keras model over samples and splits, in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Arrays = dict[str, NDArray[Any]]
Outputs = list[NDArray[Any]]
_CHUNK_BYTES = 32_000_000


def chunk_size(model: keras.Model) -> int:
    """Samples that fill about 32 MB."""
    sizes = [[s or 32 for s in tensor.shape[1:]] for tensor in model.inputs]
    return int(np.clip(_CHUNK_BYTES // max(4 * sum(math.prod(s) for s in sizes), 1), 16, 4096))


def run_source(model: keras.Model, chunks: Iterator[Arrays], batch_size: int = 128) -> Outputs:
    """Outputs of a Keras model in its order, each (n, …)."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def infer(tensors: Any) -> list[tf.Tensor]:
        return tf.nest.flatten(model(_structured(model, tensors), training=False))

    parts = []
    for chunk in chunks:
        ordered = [chunk[tensor.name] for tensor in model.inputs]
        for begin in range(0, len(ordered[0]), batch_size):
            given = [tf.constant(a[begin : begin + batch_size]) for a in ordered]
            parts.append([t.numpy() for t in infer(given)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _structured(model: keras.Model, tensors: Any) -> Any:
    import tensorflow as tf

    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return tf.nest.pack_sequence_as(structure, tensors)
    return tensors[0] if len(tensors) == 1 else tensors
