"""A folder of images with boxes as sources by split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.augmentation.augmenting import check_moves
from edgepress.compress.data.readers.boxes.coco import coco_files, read_coco
from edgepress.compress.data.readers.boxes.marking import Box, Marking, Picture
from edgepress.compress.data.readers.boxes.source import BoxSource
from edgepress.compress.data.readers.boxes.voc import read_voc, voc_folders
from edgepress.compress.data.readers.boxes.yolo import read_yolo, yolo_folders
from edgepress.compress.data.readers.class_folders import listed_classes
from edgepress.compress.data.readers.images.folders import image_input, size_read
from edgepress.compress.data.readers.images.image_files import check_images
from edgepress.compress.data.readers.images.limits import open_image
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.data.readers.images.uniform import are_deep, is_plain, remarks
from edgepress.compress.data.readers.opened import Opened
from edgepress.compress.data.tasks import output_names
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

Rows = NDArray[np.float32]
_ABSENT, _SHOWN = -1.0, 6


def box_folder(root: Path) -> Callable[[], Marking] | None:
    """What reads the boxes of a folder; None where it holds none."""
    if (root / "inputs").is_dir():
        return None
    files = coco_files(root)
    if files:
        return partial(read_coco, root, files)
    folders = yolo_folders(root)
    if folders:
        return partial(read_yolo, root, folders)
    marked = voc_folders(root)
    return partial(read_voc, marked) if marked else None


def box_file(file: Path) -> Callable[[], Marking]:
    """What reads a COCO file, whose images lie in its folder or in that around `annotations`."""
    folder = file.absolute().parent
    root = folder.parent if folder.name == "annotations" else folder
    return partial(read_coco, root, [file.absolute()])


def open_boxes(
    path: Path,
    read: Callable[[], Marking],
    model: keras.Model,
    spec: DataSpec,
    fingerprint: str,
) -> Opened:
    """The images and boxes of a folder.

    Args:
        path: The folder, or a COCO file.
        read: As `box_folder` gives it.
        model: The Keras model; with one input of images.
        spec: How images are prepared.
        fingerprint: Hash of the content.

    Raises:
        InputError: Something can't be read, a box doesn't lie in its image, or the model takes no
            images.
    """
    check_moves(spec.augment)
    tensor = image_input(model, path)
    size_px, channels = size_read(tensor.shape, spec.resize, path), tensor.shape[-1]
    marking = read()
    names, numbering = _numbered(marking, path, spec.classes)
    pictures = [p for found in marking.pictures.values() for p in found]
    survey = check_images([str(p.path) for p in pictures])
    plain = is_plain(survey, size_px, channels)
    reading = ImageReading(size_px, channels, are_deep(survey, spec), plain)
    numbers = {name: number for number, name in enumerate(names)}
    rows = [_rows(picture, numbers) for picture in pictures]
    if not any(map(len, rows)):
        raise InputError(f"'{path}' holds no boxes", "an image without any is fine, a folder isn't")
    crowds = any(box.crowd for p in pictures for box in p.boxes)
    boxes, start, sources = _padded(rows, 6 if crowds else 5), 0, {}
    for split, found in marking.pictures.items():
        if not found:
            raise InputError(f"'{path}' holds no images of the {split} split")
        here = slice(start, start + len(found))
        start += len(found)
        paths = tuple(str(picture.path) for picture in found)
        sources[split] = BoxSource(tensor.name, paths, boxes[here], output_names(model), reading)
    notes = (*marking.notes, *numbering, *remarks(survey, spec, channels))
    return Opened(sources, fingerprint, names, notes)


def _numbered(
    marking: Marking, root: Path, given: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the classes in the order of their numbers, and a note on the order."""
    order = tuple(given) or (() if marking.numbered else listed_classes(root))
    if not order:
        if marking.numbered:
            return marking.names, ()
        shown = ", ".join(f"{n} {name}" for n, name in enumerate(marking.names[:_SHOWN]))
        more = ", …" if len(marking.names) > _SHOWN else ""
        return marking.names, (
            "classes are numbered in the order of the alphabet (--classes names another):"
            f" {shown}{more}",
        )
    twice = [name for name in order if order.count(name) > 1]
    if twice:
        raise InputError(f"class '{twice[0]}' is named twice", "name each class once")
    unknown = [name for name in marking.names if name not in order]
    if unknown:
        raise InputError(
            f"'{root}' has class '{unknown[0]}', which isn't among the classes {', '.join(order)}",
            "name all classes in the order of the model's numbers",
        )
    return order, ()


def _rows(picture: Picture, numbers: Mapping[str, int]) -> list[tuple[float, ...]]:
    """The boxes of an image: corners as shares of it, class, and whether it is a crowd."""
    width, height = (1, 1) if picture.shares else _size(picture)
    return [
        (*_corners(box, picture.path, width, height), numbers[box.kind], float(box.crowd))
        for box in picture.boxes
    ]


def _corners(box: Box, path: Path, width: int, height: int) -> tuple[float, ...]:
    left, top, right, bottom = box.corners
    centre = (left + right) / 2 / width, (top + bottom) / 2 / height
    if right <= left or bottom <= top or not all(0 <= place <= 1 for place in centre):
        numbers = ", ".join(f"{value:g}" for value in box.corners)
        raise InputError(
            f"'{path}': the box {numbers} of '{box.kind}' has no area in an image of"
            f" {width} x {height}",
            "boxes are left, top, right and bottom; correct or remove it",
        )
    return left / width, top / height, right / width, bottom / height


def _size(picture: Picture) -> tuple[int, int]:
    """(width, height) of an image as it is read, upright.

    Raises:
        InputError: Its boxes are of another size.
    """
    with open_image(picture.path) as image:
        size = image.width, image.height
        if image.getexif().get(0x0112, 1) > 4:  # it lies on its side
            size = size[::-1]
    if picture.size_px not in (None, size):
        raise InputError(
            f"'{picture.path}' is upright {size[0]} x {size[1]} pixels, and its boxes are of"
            f" {' x '.join(map(str, picture.size_px or ()))}",
            "mark the image as it is, or write the size that it has",
        )
    return size


def _padded(rows: Sequence[Sequence[tuple[float, ...]]], columns: int) -> Rows:
    """(samples, most, columns) array, -1 where a sample has fewer."""
    most = max(len(found) for found in rows)
    boxes: Any = np.full((len(rows), most, columns), _ABSENT, np.float32)
    for place, found in enumerate(rows):
        for number, row in enumerate(found):
            boxes[place, number] = row[:columns]
    return np.asarray(boxes)
