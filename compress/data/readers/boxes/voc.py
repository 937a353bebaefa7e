"""Boxes in the XML files of Pascal VOC, one for each image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from edgepress.compress.data.readers.boxes.marking import (
    Box,
    Marking,
    Picture,
    finite,
    split_named,
)
from edgepress.compress.data.readers.class_folders import files_below
from edgepress.compress.data.readers.images.folders import IMAGES
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import bytes_of, reading

_MOST_BYTES = 10_000_000
# Files of `ImageSets/Main` by the split that they list.
_LISTS = {"train": "train", "val": "val", "test": "test", "trainval": "train"}

# (images, XML files) by split.
Folders = Mapping[str, tuple[Path, Path]]


def voc_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """(images, XML files) by split; "all" of a folder of `JPEGImages` and `Annotations`.

    Raises:
        InputError: There are several such folders.
    """
    levels = ((root,), root.iterdir(), root.glob("*/*"))
    for level in levels:
        found = [p for p in sorted(level) if (p / "Annotations").is_dir() and _images_of(p)]
        splits = {split_named(p.name): p for p in found}
        if len(found) > 1 and None not in splits and len(splits) == len(found):
            return {str(s): (_images_of(p) or p, p / "Annotations") for s, p in splits.items()}
        if len(found) > 1:
            raise InputError(
                f"'{root}' has {len(found)} folders of Pascal VOC:"
                f" {', '.join(p.name for p in found)}",
                "name one of them",
            )
        if found:
            return {"all": (_images_of(found[0]) or found[0], found[0] / "Annotations")}
    parts = [p for p in sorted(root.iterdir()) if p.is_dir() and split_named(p.name)]
    beside = {str(split_named(p.name)): (p, p) for p in parts if any(p.glob("*.xml"))}
    if beside or not any(root.glob("*.xml")):
        return beside
    return {"all": (root, root)}


def _images_of(folder: Path) -> Path | None:
    places = (folder / name for name in ("JPEGImages", "Images", "images"))
    return next((place for place in places if place.is_dir()), None)


def read_voc(folders: Folders) -> Marking:
    """The boxes of XML files. Difficult objects count as crowds do.

    Raises:
        InputError: A listed image or its file is missing, or a file can't be read.
    """
    pictures: dict[str, list[Picture]] = {}
    for split, (images, marks) in folders.items():
        by_name = {p.stem: p for p in files_below(images, IMAGES)}
        files = {p.stem: p for p in sorted(marks.rglob("*.xml"))}
        lists = _lists(marks.parent) if split == "all" else {}
        for part, names in (lists or {split: sorted(files)}).items():
            pictures[part] = [_picture(name, by_name, files, images, marks) for name in names]
    kinds = {box.kind for found in pictures.values() for p in found for box in p.boxes}
    return Marking(pictures, tuple(sorted(kinds)), False)


def _lists(root: Path) -> dict[str, list[str]]:
    """Names of images by split."""
    folder = root / "ImageSets" / "Main"
    given = [stem for stem in _LISTS if (folder / f"{stem}.txt").is_file()]
    if "train" in given and "trainval" in given:
        given.remove("trainval")  # it is train and val once more
    found = {}
    for stem in given:
        lines = (folder / f"{stem}.txt").read_text(errors="replace").splitlines()
        names = [line.split()[0] for line in lines if line.strip()]
        if not names:
            raise InputError(f"'{folder / stem}.txt' lists no images")
        found[_LISTS[stem]] = names
    return found


def _picture(
    name: str, images: Mapping[str, Path], files: Mapping[str, Path], folder: Path, marks: Path
) -> Picture:
    if name not in files:
        raise InputError(f"'{marks}' has no '{name}.xml'", "add it, or take the image off its list")
    if name not in images:
        raise InputError(f"'{folder}' has no image '{name}'", f"'{files[name]}' is of one")
    path = files[name]
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"'{path}' has {path.stat().st_size:,} bytes: it is no file of boxes")
    with reading(f"'{path}'"):
        root = ElementTree.fromstring(bytes_of(path))
        size = _size(root)
    return Picture(images[name], tuple(_box(one, path) for one in root.iter("object")), size)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    width, height = (root.findtext(f"size/{side}") or "0" for side in ("width", "height"))
    found = tuple(int(float(text)) for text in (width, height))
    return (found[0], found[1]) if all(found) else None


def _box(marked: ElementTree.Element, path: Path) -> Box:
    name = (marked.findtext("name") or "").strip()
    if not name:
        raise InputError(f"'{path}': an object has no name", "each object names its class")
    sides = [marked.findtext(f"bndbox/{s}") for s in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = finite(sides, f"'{path}', object '{name}'")
    # Pixels are counted from 1, and the last one is inside.
    hard = (marked.findtext("difficult") or "0").strip() == "1"
    return Box((max(left - 1, 0.0), max(top - 1, 0.0), right, bottom), name, hard)
