"""What frozen layers give is computed once for each sample, and only the rest is trained.

The frozen part of the graph that starts at the inputs and holds nothing random becomes a model of
its own; its outputs, the features, take the place of the samples. The rest is a model over the same
layers, so training it trains the model it was cut from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, Split
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.storage import Limits
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.training.cache.feature_store import FeatureSplit
from edgepress.compress.training.freezing.depths import graph_nodes
from edgepress.compress.training.numerics.fused_norm import fused_batch_norm

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, Node

_BATCH = 256


def cache_features(
    model: keras.Model,
    dataset: Dataset,
    epochs: int,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> tuple[keras.Model, Dataset] | None:
    """Cut a model behind its frozen part and compute the features of all samples.

    Args:
        model: A Keras model whose trainable flags are set.
        dataset: Opened for it.
        epochs: Passes that will be made; one doesn't pay.
        progress: Is told of the pass over the data.
        limits: How much room the features may take.

    Returns:
        The rest of the model, which shares its layers, and a data set of features in the order of
        the samples; None where there is nothing to gain: nothing frozen, something random before
        the first unfrozen layer, augmentation, a stream, or room neither in memory nor on disk.
    """
    if epochs < 2 or not _can_be_cached(dataset):
        return None
    boundary = _boundary(model)
    splits = [s for s in (dataset.train, dataset.val, dataset.test) if s is not None]
    size = _bytes(boundary, sum(s.size for s in splits))
    make = (limits or Limits()).place(size) if boundary else None
    if make is None:
        return None
    frozen, rest = _cut(model, boundary)
    (progress or Silent()).stage("computing the features of the frozen layers once")
    with fused_batch_norm(frozen):
        cached = {split.name: _features(frozen, rest, split, make) for split in splits}
    parts = [cached.get(name) for name in ("train", "val", "test")]
    return rest, dataclasses.replace(dataset, train=parts[0], val=parts[1], test=parts[2])


def _can_be_cached(dataset: Dataset) -> bool:
    """Whether training batches are the stored samples, in an order that features can follow."""
    train = dataset.training_split
    return hasattr(train.source, "part") and not train.augmentation.changes


def _boundary(model: keras.Model) -> list[keras.KerasTensor]:
    """Tensors that the frozen part gives to the rest; empty where no weights are frozen."""
    fixed: dict[int, Any] = {}
    crossing: dict[int, Any] = {}
    weighty = False
    for node in graph_nodes(model):
        if node.is_input or _is_fixed(node, fixed):
            fixed |= {id(t): t for t in node.output_tensors}
            weighty |= bool(getattr(node.operation, "weights", ()))
        else:
            crossing |= {id(t): fixed[id(t)] for t in node.input_tensors if id(t) in fixed}
    if not weighty or any(id(t) in fixed for t in model.outputs):
        return []
    return list(crossing.values())


def _is_fixed(node: Node, fixed: Mapping[int, keras.KerasTensor]) -> bool:
    """Whether a node gives the same for the same sample throughout the training."""
    if not all(id(t) in fixed for t in node.input_tensors):
        return False
    operation = node.operation
    parts = operation._flatten_layers() if hasattr(operation, "_flatten_layers") else ()
    return not any(_changes(layer) for layer in parts)


def _changes(layer: keras.Layer) -> bool:
    import keras

    follows = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    stateful = bool(getattr(layer, "stateful", False))
    return bool(follows or stateful or layer._seed_generators or layer.trainable_variables)


def _bytes(tensors: list[keras.KerasTensor], samples: int) -> float:
    """Size of the features of some samples; infinite where a tensor's shape isn't known."""
    size = 0.0
    for tensor in tensors:
        shape = tensor.shape[1:]
        elements = np.inf if None in shape else float(np.prod(shape))
        size += elements * np.dtype(tensor.dtype).itemsize
    return size * samples


def _cut(model: keras.Model, boundary: list[keras.KerasTensor]) -> tuple[keras.Model, keras.Model]:
    import keras

    frozen = keras.Model(_lone(model.inputs), boundary, name="frozen")
    rest = keras.Model(_lone(boundary), _lone(model.outputs), name=model.name)
    return frozen, rest


def _lone(tensors: list[keras.KerasTensor]) -> keras.KerasTensor | list[keras.KerasTensor]:
    """One tensor as itself: Keras warns of a tensor where it was told to expect a list."""
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _features(
    frozen: keras.Model,
    rest: keras.Model,
    split: Split,
    make: Callable[[tuple[int, ...], str], NDArray[Any]],
) -> Split:
    """A split whose inputs are the frozen part's outputs, in stored order."""
    import tensorflow as tf

    batches = split.in_order(_BATCH)

    @tf.function(input_signature=(batches.element_spec[0],), autograph=False)
    def run(inputs: Nested) -> list[tf.Tensor]:
        return tf.nest.flatten(frozen(inputs, training=False))

    names = [tensor.name for tensor in rest.inputs]
    shapes = [(split.size, *tensor.shape[1:]) for tensor in rest.inputs]
    kinds = [tensor.dtype for tensor in rest.inputs]
    features = [make(s, k) for s, k in zip(shapes, kinds, strict=True)]
    targets = []
    for number, (inputs, target) in enumerate(batches):
        targets.append(tf.nest.map_structure(lambda t: t.numpy(), target))
        for array, part in zip(features, run(inputs), strict=True):
            array[number * _BATCH : number * _BATCH + len(part)] = part.numpy()
    joined = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *targets)
    return FeatureSplit(
        split.name,
        ArraySource(
            dict(zip(names, features, strict=True)), joined, getattr(split.source, "weights", None)
        ),
        Preparation(dict(zip(names, kinds, strict=True))),
        split.augmentation,
    )
