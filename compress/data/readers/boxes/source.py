"""Image files with boxes, read as they are needed."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.images.reading import ImageReading, tensor_of

if TYPE_CHECKING:
    import tensorflow as tf

Array = NDArray[Any]


@dataclass(frozen=True)
class BoxSource:
    """Image files with boxes.

    Attributes:
        input_name: The model's input.
        paths: The images.
        boxes: (samples, most, 5) x_min, y_min, x_max, y_max as shares of the image, and the class;
            rows of -1 where an image has fewer. With crowds (samples, most, 6), 1 in the last
            column of such.
        outputs: Names of the model's outputs, each of which gets the same boxes.
        reading: How images are read.
    """

    input_name: str
    paths: tuple[str, ...]
    boxes: Array
    outputs: tuple[str, ...]
    reading: ImageReading

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.paths)

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches in the given order."""
        import tensorflow as tf

        chosen = np.arange(self.size) if order is None else np.asarray(order)
        paths = tf.constant([os.fsencode(self.paths[i]) for i in chosen])

        def read(path: tf.Tensor, boxes: tf.Tensor) -> tuple[dict[str, tf.Tensor], Any]:
            several = len(self.outputs) > 1
            targets = dict.fromkeys(self.outputs, boxes) if several else boxes
            return {self.input_name: tensor_of(path, self.reading)}, targets

        slices = tf.data.Dataset.from_tensor_slices((paths, self.boxes[chosen]))
        return slices.map(read, num_parallel_calls=2).batch(batch_size)

    def labels(self) -> Array | None:
        """None: an image may hold several classes."""
        return None

    def part(self, indices: Array) -> BoxSource:
        """The images at some indices."""
        paths = tuple(self.paths[i] for i in indices)
        return dataclasses.replace(self, paths=paths, boxes=self.boxes[indices])
