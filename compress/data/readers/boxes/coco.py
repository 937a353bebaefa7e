"""Boxes in the JSON files of COCO: `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

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

_PLACES = (".", "annotations", "train", "val", "valid", "validation", "test")


def coco_files(root: Path) -> list[Path]:
    """JSON files with boxes in a folder, its `annotations` and the folders of its splits."""
    found = (path for place in _PLACES for path in sorted((root / place).glob("*.json")))
    return [path for path in found if path.name[0] != "." and _holds_boxes(path)]


def _holds_boxes(path: Path) -> bool:
    try:
        document = _document(path)
    except InputError:
        return False
    marks = document.get("annotations")
    if not isinstance(document.get("images"), list) or not isinstance(marks, list):
        return False
    boxes = [mark for mark in marks if isinstance(mark, dict) and "bbox" in mark]
    return bool(boxes) or not marks


def _document(path: Path) -> dict[str, Any]:
    with reading(f"'{path}'"):
        found = json.loads(bytes_of(path))
    if not isinstance(found, dict):
        raise InputError(f"'{path}' is not a COCO file", "it needs images, annotations, categories")
    return found


def read_coco(root: Path, files: Sequence[Path]) -> Marking:
    """The boxes of COCO files, whose images lie below a folder.

    Categories are numbered in the order of their ids, which may have gaps.

    Raises:
        InputError: Two files are of one split, they number classes differently, an image is
            missing, or a box can't be read.
    """
    by_split = _by_split(root, files)
    images = _Images(root)
    pictures, categories, used = {}, dict[str, list[tuple[int, str]]](), set[Path]()
    for split, path in by_split.items():
        with reading(f"'{path}'"):
            document = _document(path)
            categories[str(path)] = _categories(document, path)
            pictures[split] = _pictures(document, path, split, images)
        used |= {picture.path for picture in pictures[split]}
    (first, order), *others = categories.items()
    for other, given in others:
        if given != order:
            raise InputError(
                f"'{first}' and '{other}' have different categories", "number them alike"
            )
    notes = []
    ids = [number for number, _ in order]
    if ids not in (list(range(len(ids))), list(range(1, len(ids) + 1))):
        notes.append(
            f"categories {ids[0]} to {ids[-1]} are classes 0 to {len(ids) - 1}, in the order of"
            " their ids"
        )
    left = sum(len(paths) for paths in images.by_name.values()) - len(used)
    if left:
        notes.append(f"{left:,} images in '{root}' are in no COCO file: they are left out")
    return Marking(pictures, tuple(name for _, name in order), True, tuple(notes))


def _by_split(root: Path, files: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        inside = "" if path.parent == root else path.parent.name
        found[split_named(path.stem) or split_named(inside) or "all"].append(path)
    chosen = {}
    for split, paths in found.items():
        # Beside the boxes of objects COCO has files of the key points of persons.
        named = [path for path in paths if path.name.startswith("instances")] or paths
        if len(named) > 1:
            file_names = ", ".join(path.name for path in named)
            what = "without a split in their names" if split == "all" else f"of the {split} split"
            raise InputError(
                f"'{root}' has {len(named)} COCO files {what}: {file_names}",
                "leave one of each split, named train, val or test",
            )
        chosen[split] = named[0]
    if "all" in chosen and len(chosen) > 1:
        raise InputError(
            f"'{chosen['all']}' stands beside COCO files of splits, and names none",
            "name it train, val or test, or move it away",
        )
    return chosen


def _categories(document: Mapping[str, Any], path: Path) -> list[tuple[int, str]]:
    given = document.get("categories") or []
    found = sorted((int(one["id"]), str(one["name"])) for one in given)
    for what, values in (("id", [n for n, _ in found]), ("name", [name for _, name in found])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise InputError(f"'{path}': two categories have the {what} '{twice[0]}'")
    if not found:
        raise InputError(f"'{path}' has no categories", "a COCO file names its classes there")
    return found


def _pictures(
    document: Mapping[str, Any], path: Path, split: str, images: _Images
) -> list[Picture]:
    names = dict(_categories(document, path))
    boxes: dict[Any, list[Box]] = defaultdict(list)
    entries = {one["id"]: one for one in document["images"]}
    if len(entries) < len(document["images"]):
        raise InputError(f"'{path}': two images have one id", "number images apart")
    for mark in document["annotations"]:
        where = f"'{path}', annotation {mark.get('id', '?')}"
        if mark["image_id"] not in entries:
            raise InputError(f"{where}: there is no image {mark['image_id']}")
        if mark["category_id"] not in names:
            raise InputError(f"{where}: there is no category {mark['category_id']}")
        given = mark["bbox"]
        x, y, width, height = finite(
            given if isinstance(given, list) and len(given) == 4 else "?", where
        )
        boxes[mark["image_id"]].append(
            Box(
                (x, y, x + width, y + height),
                names[mark["category_id"]],
                bool(mark.get("iscrowd", 0)),
            )
        )
    corners = [value for found in boxes.values() for box in found for value in box.corners]
    if corners and max(corners) <= 1:
        raise InputError(
            f"'{path}': no box reaches beyond the first pixel", "COCO's boxes are in pixels"
        )
    places = [
        (key, images.place(str(one["file_name"]), path, split)) for key, one in entries.items()
    ]
    missing = [key for key, place in places if place is None]
    if missing:
        more = f", and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise InputError(
            f"'{path}': image '{entries[missing[0]]['file_name']}' is not below"
            f" '{images.root}'{more}",
            "put the images into the folder, or take them out of the file",
        )
    return [
        Picture(place, tuple(boxes[key]), _size(entries[key]))
        for key, place in places
        if place is not None
    ]


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (int(width), int(height)) if width and height else None


class _Images:
    """The images below a folder, found by the names that COCO files give them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        for path in files_below(root, IMAGES):
            self.by_name[path.name].append(path)

    def place(self, name: str, file: Path, split: str) -> Path | None:
        """The image of a name, of several the one in the folder of the split or of the file.

        Raises:
            InputError: Several are alike.
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        found = self.by_name.get(parts[-1] if parts else "", [])
        for fits in (
            lambda path: path.parts[-len(parts) :] == parts,
            lambda path: split_named(path.parent.relative_to(self.root).as_posix()) == split,
            lambda path: path.is_relative_to(file.parent),
        ):
            found = [path for path in found if fits(path)] or found
        if len(found) > 1:
            raise InputError(
                f"'{file}': image '{name}' may be '{found[0]}' or '{found[1]}'",
                "name it with its folder",
            )
        return found[0] if found else None
