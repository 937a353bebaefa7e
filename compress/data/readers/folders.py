"""Folders of images, read file by file as they are needed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.image_files import check_images, open_image
from edgepress.compress.errors import InputError

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
        size_px: (height, width) that inputs are read at.
        channels: Channels that inputs are read with: 1, 3 or 4.
        target_size_px: (height, width) of target images.
        target_channels: Channels of target images; 0 where targets are classes.
    """

    input_name: str
    paths: tuple[str, ...]
    targets: tuple[Any, ...]
    size_px: tuple[int, int]
    channels: int
    target_size_px: tuple[int, int] = (0, 0)
    target_channels: int = 0

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.paths)

    def batches(self, order: Array | None, batch_size: int) -> Any:
        """A `tf.data.Dataset` of batches in the given order."""
        import tensorflow as tf

        chosen = np.arange(self.size) if order is None else order
        paths = tf.constant([os.fsencode(self.paths[i]) for i in chosen])
        answers = [self.targets[i] for i in chosen]
        targets = tf.constant([os.fsencode(a) if isinstance(a, str) else a for a in answers])

        def read(path: Any, target: Any) -> Any:
            image = _tensor(path, self.size_px, self.channels)
            if self.target_channels:
                target = _tensor(target, self.target_size_px, self.target_channels)
            return {self.input_name: image}, target

        slices = tf.data.Dataset.from_tensor_slices((paths, targets))
        return slices.map(read, num_parallel_calls=2).batch(batch_size)

    def labels(self) -> Array | None:
        """(samples,) class of each image, or None for target images."""
        return None if self.target_channels else np.asarray(self.targets)

    def part(self, indices: Array) -> ImageSource:
        """The images at some indices."""
        return ImageSource(
            self.input_name,
            tuple(self.paths[i] for i in indices),
            tuple(self.targets[i] for i in indices),
            self.size_px,
            self.channels,
            self.target_size_px,
            self.target_channels,
        )


def _tensor(path: Any, size_px: tuple[int, int], channels: int) -> Any:
    import tensorflow as tf

    image = tf.numpy_function(
        lambda p: read_image(os.fsdecode(p), size_px, channels), [path], tf.uint8, stateful=False
    )
    return tf.ensure_shape(image, (*size_px, channels))


def read_image(path: str, size_px: tuple[int, int], channels: int) -> Array:
    """Read one image, upright, as 8-bit values.

    EXIF orientation is applied; 16-bit images are scaled to 8 bits; palettes, grey and alpha are
    converted to the channels asked for; another size is resampled bilinearly.

    Args:
        path: The file.
        size_px: (height, width).
        channels: 1, 3 or 4.

    Returns:
        (height, width, channels) uint8.

    Raises:
        InputError: The file is no readable image.
    """
    from PIL import Image, ImageOps

    try:
        with open_image(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):
                wide = np.asarray(image, np.float64)
                image = Image.fromarray((wide / (257 if wide.max() > 255 else 1)).astype(np.uint8))
            image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
            if image.size != size_px[::-1]:
                image = image.resize(size_px[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image, np.uint8).reshape(*size_px, channels)
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, ValueError, …
        raise InputError(f"'{path}' is not a readable image: {error}") from error


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())


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
    model: Any,
    resize: tuple[int, int] | None,
) -> ImageSource:
    """The images of a folder of class folders, for a model with one image input.

    Args:
        folder: The folder.
        inside: The images of each class folder, by its name.
        classes: Names of the classes in the order of their numbers.
        model: The Keras model.
        resize: (height, width) to read them at; the model's own where it is None.

    Raises:
        InputError: There are none, one is damaged, or the model takes no such images.
    """
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = inside.get(name, ())
        paths += map(str, images)
        labels += [label] * len(images)
    if not paths:
        raise InputError(f"'{folder}' holds no images")
    tensor = _image_input(model, folder)
    size_px = _size(tensor.shape, resize, folder)
    check_images(paths)
    return ImageSource(tensor.name, tuple(paths), tuple(labels), size_px, tensor.shape[-1])


def pair_source(folder: Path, model: Any, resize: tuple[int, int] | None) -> ImageSource:
    """Images of `inputs/` with the images of the same name in `targets/`.

    Raises:
        InputError: Folders are empty, or an input has no target.
    """
    inputs = images_in(folder / "inputs")
    targets = {p.stem: p for p in images_in(folder / "targets")}
    lonely = [p.name for p in inputs if p.stem not in targets]
    if not inputs or lonely:
        what = f"input '{lonely[0]}' has no target of that name" if lonely else "no images"
        raise InputError(f"'{folder}': {what}", "pairs share their name in inputs/ and targets/")
    tensor, output = _image_input(model, folder), model.outputs[0]
    size_px = _size(tensor.shape, resize, folder)
    asked, answers = [str(p) for p in inputs], [str(targets[p.stem]) for p in inputs]
    check_images([*asked, *answers])
    return ImageSource(
        tensor.name,
        tuple(asked),
        tuple(answers),
        size_px,
        tensor.shape[-1],
        _size(output.shape, resize, folder),
        output.shape[-1],
    )


def _image_input(model: Any, folder: Path) -> Any:
    tensor = model.inputs[0]
    if len(model.inputs) != 1 or len(tensor.shape) != 4 or tensor.shape[-1] not in (1, 3, 4):
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in model.inputs)
        raise InputError(
            f"'{folder}' is a folder of images, the model takes {shapes}",
            "image folders are for models with one input of (height, width, 1, 3 or 4 channels)",
        )
    return tensor


def _size(
    shape: Sequence[int | None], resize: tuple[int, int] | None, folder: Path
) -> tuple[int, int]:
    if resize is not None:
        return resize
    if shape[1] is not None and shape[2] is not None:
        return shape[1], shape[2]

    raise InputError(
        f"'{folder}': the model takes images of any size, so give one with --resize",
        "pass --resize HxW",
    )
