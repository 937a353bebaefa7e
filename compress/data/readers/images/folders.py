"""Folders of images, read file by file as they are needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.images.reading import Reading, tensor_of
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Array = NDArray[Any]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val",
    "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip


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


def images_below(folder: Path) -> list[Path]:
    """The image files of a folder and of the folders in it, as Keras reads them; none hidden."""
    found = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return sorted(found)


def folder_splits(folder: Path) -> dict[str, Path]:
    """Folders by split: those named train, val and test, or "all" for a folder without them."""
    children = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    splits = {SPLIT_FOLDERS[n]: p for n, p in sorted(children.items()) if n in SPLIT_FOLDERS}
    return splits or {"all": folder}


def class_folder_source(
    folder: Path,
    inside: Mapping[str, Sequence[Path]],
    classes: tuple[str, ...],
    input_name: str,
    reading: Reading,
) -> ImageSource:
    """The images of a folder of class folders.

    Args:
        folder: The folder.
        inside: The images of each class folder, by its name.
        classes: Names of the classes in the order of their numbers.
        input_name: The model's input.
        reading: How images are read.

    Raises:
        InputError: There are none.
    """
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = inside.get(name, ())
        paths += map(str, images)
        labels += [label] * len(images)
    if not paths:
        raise InputError(f"'{folder}' holds no images")
    return ImageSource(input_name, tuple(paths), tuple(labels), reading)


def image_input(model: keras.Model, folder: Path) -> keras.KerasTensor:
    """The one input of a model that takes images.

    Raises:
        InputError: It takes none, or something else beside them.
    """
    tensor = model.inputs[0]
    if len(model.inputs) != 1 or len(tensor.shape) != 4 or tensor.shape[-1] not in (1, 3, 4):
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in model.inputs)
        raise InputError(
            f"'{folder}' is a folder of images, the model takes {shapes}",
            "image folders are for models with one input of (height, width, 1, 3 or 4 channels)",
        )
    return tensor


def size_read(
    shape: Sequence[int | None], resize: tuple[int, int] | None, folder: Path
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
        f"'{folder}': the model takes images of any size, so give one with --resize",
        "pass --resize HxW",
    )
