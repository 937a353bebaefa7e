"""Features of samples, in memory or in a file that nobody else sees, and batches drawn from them.

A `tf.data` pipeline that gathers rows costs five times the gathering itself, which counts where a
step is as short as that of the last layers alone. So batches are drawn here without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Split
from edgepress.compress.data.readers.arrays import ArraySource

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, Values

Array = NDArray[Any]
Fetch = Callable[[Array], Any]


@dataclass(frozen=True)
class Batches:
    """Batches of stored samples; can be passed over more than once.

    Attributes:
        element_spec: (inputs, targets[, weights]) specifications, the number of samples open.
        fetch: Gives the samples at some indices.
        order: (n,) indices.
        size: Samples in a batch; the last may be smaller.
    """

    element_spec: Any
    fetch: Fetch
    order: Array
    size: int

    def __iter__(self) -> Iterator[tuple[Nested, ...]]:
        for first in range(0, len(self.order), self.size):
            yield self.fetch(self.order[first : first + self.size])


@dataclass(frozen=True)
class FeatureSplit(Split):
    """A split whose samples are features, drawn without a pipeline.

    The order of an epoch is that of `Split`.
    """

    def epoch(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        augment: bool = True,
        skip_batches: int = 0,
    ) -> Batches:
        """The batches of one training epoch; features aren't augmented."""
        del augment
        order = self.order(seed, epoch)
        return self._drawn(order[skip_batches * batch_size :], batch_size, self.weighted)

    def in_order(self, batch_size: int = 256, weighted: bool = False) -> Batches:
        """All samples in stored order."""
        return self._drawn(np.arange(self.size), batch_size, weighted and self.weighted)

    def _drawn(self, order: Array, batch_size: int, weighted: bool) -> Batches:
        import tensorflow as tf

        source = self.source
        assert isinstance(source, ArraySource)
        fetch = _fetch(source, weighted)
        spec = tf.nest.map_structure(
            lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), fetch(np.arange(1))
        )
        return Batches(spec, fetch, order, batch_size)


def _fetch(source: ArraySource, weighted: bool) -> Fetch:
    """Rows of a source's arrays as tensors; of arrays on disk only those rows are read."""
    import tensorflow as tf

    mapped = any(isinstance(array, np.memmap) for array in source.inputs.values())
    stored = (source.inputs, source.targets) if mapped else source._tensors
    if weighted:
        stored = (*stored, source.weights)

    def rows(array: Values, chosen: Array) -> tf.Tensor:
        return tf.constant(array[chosen]) if mapped else tf.gather(array, chosen)

    def fetch(chosen: Array) -> tuple[Nested, ...]:
        inputs, *rest = tf.nest.map_structure(lambda array: rows(array, chosen), stored)
        return (next(iter(inputs.values())) if len(inputs) == 1 else inputs), *rest

    return fetch
