"""Folders of images, read file by file as they are needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.class_folders import FileKind
from edgepress.compress.data.readers.images.reading import Reading, tensor_of
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Array = NDArray[Any]

IMAGES = FileKind(
    "images", (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True)
class ImageSource:
    """Image files with a class, or a target image, each.

    Attributes:
        input_name: The model's input.
        paths: The images.
        targets: (samples,) class indices, or the paths of target images.
        reading: How images are read.
        answering: How target images are read; None where targets are classes.
        showing: Places of samples whose targets together hold every class number of the masks.
    """

    input_name: str
    paths: tuple[str, ...]
    targets: tuple[Any, ...]
    reading: Reading
    answering: Reading | None = None
    showing: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.paths)

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches in the given order."""
        import tensorflow as tf

        chosen = np.arange(self.size) if order is None else order
        paths = tf.constant([os.fsencode(self.paths[i]) for i in chosen])
        answers = [self.targets[i] for i in chosen]
        targets = tf.constant([os.fsencode(a) if isinstance(a, str) else a for a in answers])

        def read(path: tf.Tensor, target: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            if self.answering is not None:
                target = tensor_of(target, self.answering)
            return {self.input_name: tensor_of(path, self.reading)}, target

        slices = tf.data.Dataset.from_tensor_slices((paths, targets))
        return slices.map(read, num_parallel_calls=2).batch(batch_size)

    def labels(self) -> Array | None:
        """(samples,) class of each image, or None for target images."""
        return None if self.answering is not None else np.asarray(self.targets)

    def part(self, indices: Array) -> ImageSource:
        """The images at some indices."""
        places = {int(place): n for n, place in enumerate(indices)}
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            targets=tuple(self.targets[i] for i in indices),
            showing=tuple(places[i] for i in self.showing if i in places),
        )


def takes_images(model: keras.Model) -> bool:
    """Whether a model has one input, of images."""
    tensor = model.inputs[0]
    return len(model.inputs) == 1 and len(tensor.shape) == 4 and tensor.shape[-1] in (1, 3, 4)


def image_input(model: keras.Model, folder: Path) -> keras.KerasTensor:
    """The one input of a model that takes images.

    Raises:
        InputError: It takes none, or something else beside them.
    """
    if not takes_images(model):
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in model.inputs)
        raise InputError(
            f"'{folder}' is a folder of images, the model takes {shapes}",
            "image folders are for models with one input of (height, width, 1, 3 or 4 channels)",
        )
    return model.inputs[0]


def size_read(
    shape: Sequence[int | None], resize: tuple[int, int] | None, where: Path | str
) -> tuple[int, int]:
    """(height, width) that images are read at: the one asked for, else the model's.

    Raises:
        InputError: Neither says it.
    """
    if resize is not None:
        return resize
    if shape[1] is not None and shape[2] is not None:
        return shape[1], shape[2]
    raise InputError(
        f"'{where}': the model takes images of any size, so give one with --resize",
        "pass --resize HxW",
    )
