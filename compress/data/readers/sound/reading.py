"""Sounds as a model gets them: one channel, one sample rate, one length."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.images.reading import tensor_of
from edgepress.compress.data.readers.sound.decoding import decoded
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

Array = NDArray[Any]


@dataclass(frozen=True)
class SoundReading:
    """Reads sounds.

    Channels are averaged; another sample rate is resampled by a polyphase filter; what is longer
    is cut behind, what is shorter is padded with zeros behind.

    Attributes:
        sample_rate: Samples a second.
        samples: Samples of each sound.
        plain: Whether all files are WAV files of 16 bits and this rate, which TensorFlow decodes to
            the same values without a call of Python for each.
    """

    sample_rate: int
    samples: int
    plain: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,)."""
        return (self.samples,)

    @property
    def dtype(self) -> type[np.float32]:
        """float32."""
        return np.float32

    def read(self, path: str) -> Array:
        """(samples,) values of a file.

        Raises:
            InputError: The file is no readable sound.
        """
        try:
            sound = decoded(path)
        except InputError:
            raise
        except Exception as error:  # SciPy and soundfile raise many kinds
            raise InputError(f"'{path}' is not a readable sound: {error}") from error
        values = self._resampled(sound.values.mean(1), sound.sample_rate)[: self.samples]
        return np.pad(values, (0, self.samples - len(values))).astype(np.float32)

    def _resampled(self, values: Array, rate: int) -> Array:
        if rate == self.sample_rate:
            return values
        from scipy.signal import resample_poly

        common = math.gcd(rate, self.sample_rate)
        found: Array = resample_poly(values, self.sample_rate // common, rate // common)
        return found


@dataclass(frozen=True)
class SoundSource:
    """Sound files with a class, or a value, each.

    Attributes:
        input_name: The model's input.
        paths: The files.
        targets: (samples, …) class numbers or values.
        reading: How sounds are read.
        groups: (samples,) what each belongs to, or None.
    """

    input_name: str
    paths: tuple[str, ...]
    targets: Array
    reading: SoundReading
    groups: Array | None = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.paths)

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches in the given order."""
        import tensorflow as tf

        chosen = np.arange(self.size) if order is None else order
        paths = tf.constant([os.fsencode(self.paths[i]) for i in chosen])

        def read(path: tf.Tensor, target: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            return {self.input_name: _tensor(path, self.reading)}, target

        slices = tf.data.Dataset.from_tensor_slices((paths, self.targets[chosen]))
        return slices.map(read, num_parallel_calls=2).batch(batch_size)

    def labels(self) -> Array | None:
        """(samples,) class of each sound; None for values."""
        return self.targets if self.targets.dtype.kind in "iu" else None

    def part(self, indices: Array) -> SoundSource:
        """The sounds at some indices."""
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            targets=self.targets[indices],
            groups=None if self.groups is None else self.groups[indices],
        )


def _tensor(path: tf.Tensor, reading: SoundReading) -> tf.Tensor:
    """The samples of a file, (samples,), of its path as a tensor."""
    import tensorflow as tf

    if not reading.plain:
        return tensor_of(path, reading)
    sound = tf.audio.decode_wav(tf.io.read_file(path), desired_samples=reading.samples)
    return tf.ensure_shape(tf.reduce_mean(sound.audio, 1), reading.shape)
