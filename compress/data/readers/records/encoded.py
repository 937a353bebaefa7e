"""Images that lie encoded in memory, decoded as they are needed."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.arrays import class_labels
from edgepress.compress.data.readers.images.limits import decoding
from edgepress.compress.data.readers.images.reading import ImageReading

if TYPE_CHECKING:
    import tensorflow as tf

Array = NDArray[Any]


@dataclass(frozen=True)
class EncodedSource:
    """Encoded images with a target each.

    Attributes:
        input_name: The model's input.
        items: The images, as JPEG, PNG, ….
        targets: (samples, …) class numbers or values.
        reading: How images are read.
        where: What they come from, for messages.
    """

    input_name: str
    items: tuple[bytes, ...]
    targets: Array
    reading: ImageReading
    where: str

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.items)

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches in the given order."""
        import tensorflow as tf

        chosen = np.arange(self.size) if order is None else np.asarray(order)

        def read(place: tf.Tensor, target: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            pixels = tf.numpy_function(self._decoded, [place], self.reading.dtype, stateful=False)
            return {self.input_name: tf.ensure_shape(pixels, self.reading.shape)}, target

        slices = tf.data.Dataset.from_tensor_slices((chosen, self.targets[chosen]))
        return slices.map(read, num_parallel_calls=2).batch(batch_size)

    def _decoded(self, place: np.int64) -> Array:
        with decoding(f"{self.where}, record {place}"):
            return self.reading.eight_bits(io.BytesIO(self.items[int(place)]))

    def labels(self) -> Array | None:
        """(samples,) class of each sample, where the targets are classes."""
        return class_labels(self.targets)

    def part(self, indices: Array) -> EncodedSource:
        """The samples at some indices."""
        return dataclasses.replace(
            self, items=tuple(self.items[i] for i in indices), targets=self.targets[indices]
        )
