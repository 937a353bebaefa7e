"""A folder of images as sources by split: class folders, or pairs of images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data.readers.images.class_folders import (
    class_names,
    empty_classes,
    images_by_folder,
    subfolders,
)
from edgepress.compress.data.readers.images.folders import (
    ImageSource,
    class_folder_source,
    folder_splits,
    image_input,
    size_read,
)
from edgepress.compress.data.readers.images.image_files import check_images
from edgepress.compress.data.readers.images.pairs import are_pairs, pair_sources
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.data.readers.images.uniform import are_deep, remarks
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ImageFolder:
    """What a folder of images holds.

    Attributes:
        sources: By split; "all" where it has none.
        class_names: Of class folders, in the order of their numbers.
        notes: What should be known of how it is read, one line each.
    """

    sources: dict[str, ImageSource]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def open_images(path: Path, model: keras.Model, spec: DataSpec) -> ImageFolder:
    """The images of a folder, of all splits read alike.

    Args:
        path: The folder.
        model: The Keras model that they are for.
        spec: How they are prepared.

    Raises:
        InputError: There are none, one is damaged, they differ in depth, or the model takes no
            such images.
    """
    splits = folder_splits(path)
    if are_pairs(splits):
        pairs, told = pair_sources(splits, model, spec)
        return ImageFolder(pairs, (), tuple(told))
    folders = {folder: images_by_folder(folder) for folder in splits.values()}
    names, notes = class_names(path, folders, model, spec.classes)
    tensor = image_input(model, path)
    size_px = size_read(tensor.shape, spec.resize, path)
    survey = check_images(
        [
            str(image)
            for inside in folders.values()
            for name in names
            for image in inside.get(name, ())
        ]
    )
    reading = ImageReading(size_px, tensor.shape[-1], are_deep(survey, spec))
    sources = {
        split: class_folder_source(folder, folders[folder], names, tensor.name, reading)
        for split, folder in splits.items()
    }
    # Names of folders may not be UTF-8; what is written of them is.
    told = [os.fsencode(name).decode("utf-8", "replace") for name in names]
    return ImageFolder(
        sources,
        tuple(told),
        (
            *notes,
            *subfolders(folders),
            *empty_classes(folders),
            *remarks(survey, spec, tensor.shape[-1]),
        ),
    )
