"""How the images of a folder are read: all at one size, with the same channels and depth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.images.limits import decoding, open_image
from edgepress.compress.data.readers.images.pixels import deep_values, with_channels

if TYPE_CHECKING:
    import tensorflow as tf

Array = NDArray[Any]


class Reading(Protocol):
    """Reads one image file as an array; the same way for all files of a folder."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it gives."""

    @property
    def dtype(self) -> type[np.generic]:
        """NumPy type of what it gives."""

    def read(self, path: str) -> Array:
        """The values of a file.

        Raises:
            InputError: The file is no readable image.
        """


@dataclass(frozen=True)
class ImageReading:
    """Reads images.

    EXIF orientation is applied; palettes, grey and alpha are converted to the channels asked for;
    another size is resampled bilinearly.

    Attributes:
        size_px: (height, width).
        channels: 1, 3 or 4.
        deep: Whether values are read as they are stored, as float32; else they are those of 8 bits.
        plain: Whether all files are PNG files of this size and these channels, which TensorFlow
            decodes to the same values without a call of Python for each.
    """

    size_px: tuple[int, int]
    channels: int
    deep: bool = False
    plain: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels)."""
        return (*self.size_px, self.channels)

    @property
    def dtype(self) -> type[np.float32] | type[np.uint8]:
        """float32 of deep images, else uint8."""
        return np.float32 if self.deep else np.uint8

    def read(self, path: str) -> Array:
        """(height, width, channels) values of a file.

        Raises:
            InputError: The file is no readable image.
        """
        with decoding(path):
            return self._deep(path) if self.deep else self.eight_bits(path)

    def eight_bits(self, path: str | IO[bytes]) -> Array:
        """(height, width, channels) values of 8 bits of a file, or of what stands for one."""
        from PIL import Image, ImageOps

        with open_image(path) as file:
            image = ImageOps.exif_transpose(file)
            image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[self.channels])
            if image.size != self.size_px[::-1]:
                image = image.resize(self.size_px[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image, np.uint8).reshape(self.shape)

    def _deep(self, path: str) -> Array:
        from PIL import Image

        values = with_channels(deep_values(path), self.channels)
        if values.shape[:2] == self.size_px:
            return values
        planes = [Image.fromarray(np.ascontiguousarray(p)) for p in np.moveaxis(values, -1, 0)]
        resized = [p.resize(self.size_px[::-1], Image.Resampling.BILINEAR) for p in planes]
        return np.stack([np.asarray(p) for p in resized], -1)


def tensor_of(path: tf.Tensor, reading: Reading) -> tf.Tensor:
    """The values of a file, as a tensor, of its path as one."""
    import tensorflow as tf

    if isinstance(reading, ImageReading) and reading.plain:
        content = tf.io.read_file(path)
        return tf.ensure_shape(tf.io.decode_png(content, reading.channels), reading.shape)
    values = tf.numpy_function(
        lambda p: reading.read(os.fsdecode(p)), [path], reading.dtype, stateful=False
    )
    return tf.ensure_shape(values, reading.shape)
