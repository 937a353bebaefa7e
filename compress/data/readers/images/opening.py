"""A folder of images as sources by split: class folders, or pairs of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data.readers.class_folders import (
    class_names,
    empty_classes,
    files_by_folder,
    folder_splits,
    labelled_files,
    shown_names,
    subfolders,
)
from edgepress.compress.data.readers.images.folders import (
    IMAGES,
    ImageSource,
    image_input,
    size_read,
)
from edgepress.compress.data.readers.images.image_files import check_images
from edgepress.compress.data.readers.images.pairs import are_pairs, pair_sources
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.data.readers.images.uniform import are_deep, is_plain, remarks
from edgepress.compress.errors import InputError
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
        pairs, notes_of_pairs = pair_sources(splits, model, spec)
        return ImageFolder(pairs, (), tuple(notes_of_pairs))
    outputs = model.outputs[0].shape
    if len(model.outputs) == 1 and len(outputs) == 4:
        inside = sorted(p.name for p in path.iterdir() if p.is_dir() and p.name[0] != ".")
        raise InputError(
            f"the model gives images, and '{path}' has the folders {', '.join(inside[:6])}",
            "put images into inputs/ and those of the same names that they belong to into targets/",
        )
    folders = {folder: files_by_folder(folder, IMAGES) for folder in splits.values()}
    names, notes = class_names(path, folders, model, IMAGES, spec.classes)
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
    channels = tensor.shape[-1]
    deep, plain = are_deep(survey, spec), is_plain(survey, size_px, channels)
    reading = ImageReading(size_px, channels, deep, plain)
    sources = {
        split: ImageSource(
            tensor.name, *labelled_files(folder, folders[folder], names, IMAGES), reading
        )
        for split, folder in splits.items()
    }
    return ImageFolder(
        sources,
        shown_names(names),
        (
            *notes,
            *subfolders(folders, IMAGES),
            *empty_classes(folders, IMAGES),
            *remarks(survey, spec, tensor.shape[-1]),
        ),
    )
