"""Boxes in the text files of YOLO: a line `class x_centre y_centre width height` for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
from edgepress.compress.kernel.boundary import reading, text_of
from edgepress.compress.specs.yaml_text import read_yaml

_HINT = "each line is a class number and x_centre y_centre width height as shares of the image"
_HINT_OF_NAMES = "write them as names: [cat, dog], or by number"
# A file without names can't ask for more classes than this: each takes memory.
_MOST_UNNAMED = 10_000
# Rounding of what programs write with six digits.
_SLACK = 1e-3


def yolo_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """(images, labels) by split: `images/train` and `labels/train`, or `train/images`, …."""
    flat = root / "images", root / "labels"
    if all(folder.is_dir() for folder in flat):
        inside = {split_named(p.name): p.name for p in sorted(flat[0].iterdir()) if p.is_dir()}
        found = {s: (flat[0] / n, flat[1] / n) for s, n in inside.items() if s is not None}
        return found or ({"all": flat} if any(flat[1].rglob("*.txt")) else {})
    return {
        split: (folder / "images", folder / "labels")
        for folder in sorted(p for p in root.iterdir() if p.is_dir())
        if (split := split_named(folder.name)) is not None
        and (folder / "images").is_dir()
        and (folder / "labels").is_dir()
    }


def read_yolo(root: Path, folders: Mapping[str, tuple[Path, Path]]) -> Marking:
    """The boxes of label files. An image without one has no boxes.

    Raises:
        InputError: A line can't be read, a class has no name, or labels have no image.
    """
    names = _names(root)
    pictures = {split: _pictures(*pair, names) for split, pair in folders.items()}
    used = {int(b.kind) for found in pictures.values() for p in found for b in p.boxes}
    if not names:
        names = tuple(str(number) for number in range(max(used, default=0) + 1))
    named = {
        split: [
            Picture(
                p.path,
                tuple(b._replace(kind=names[int(b.kind)]) for b in p.boxes),
                shares=True,
            )
            for p in found
        ]
        for split, found in pictures.items()
    }
    bare = sum(not p.boxes for found in pictures.values() for p in found)
    notes = (f"{bare:,} images have no boxes",) if bare else ()
    return Marking(named, names, True, notes)


def _names(root: Path) -> tuple[str, ...]:
    """Names of the classes by number, of a YAML file or a `classes.txt`; empty without either."""
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    given = {path: found for path in files if (found := _names_in(path)) is not None}
    if len(given) > 1 and len(set(given.values())) > 1:
        raise InputError(
            f"'{root}': {', '.join(path.name for path in given)} name different classes",
            "leave one of them",
        )
    if given:
        return next(iter(given.values()))
    for path in (root / "classes.txt", root / "labels" / "classes.txt"):
        if path.is_file():
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return ()


def _names_in(path: Path) -> tuple[str, ...] | None:
    document, _ = read_yaml(path, "list of classes")
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise InputError(f"'{path}': names are not numbered from 0", "number each class")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        return None
    if any(isinstance(name, list | dict) for name in names):
        raise InputError(f"'{path}': a class's name is one text", _HINT_OF_NAMES)
    count = document.get("nc", len(names))
    if count != len(names):
        raise InputError(f"'{path}' has nc {count} and {len(names)} names", "correct one of them")
    return tuple(map(str, names))


def _pictures(images: Path, labels: Path, names: tuple[str, ...]) -> list[Picture]:
    found = {p.relative_to(images).with_suffix(""): p for p in files_below(images, IMAGES)}
    texts = {
        p.relative_to(labels).with_suffix(""): p
        for p in sorted(labels.rglob("*.txt"))
        if p.name != "classes.txt" and p.name[0] != "."
    }
    if not found:
        raise InputError(f"'{images}' holds no images")
    lonely = sorted(texts.keys() - found.keys())
    if lonely:
        more = f", and {len(lonely) - 1:,} more" if len(lonely) > 1 else ""
        raise InputError(
            f"'{texts[lonely[0]]}' has no image of its name in '{images}'{more}",
            "add the images, or remove the labels",
        )
    return [
        Picture(path, _boxes(texts[name], names) if name in texts else (), shares=True)
        for name, path in found.items()
    ]


def _boxes(path: Path, names: tuple[str, ...]) -> tuple[Box, ...]:
    with reading(f"'{path}'"):
        lines = text_of(path).splitlines()
    return tuple(
        _box(line.split(), f"{path}:{n}", names) for n, line in enumerate(lines, 1) if line.strip()
    )


def _box(words: list[str], where: str, names: tuple[str, ...]) -> Box:
    if len(words) != 5:
        kind = "outlines" if len(words) > 6 and len(words) % 2 else f"{len(words)} values"
        raise InputError(f"'{where}' has {kind}, not a box", _HINT)
    number, x, y, width, height = finite(words, f"'{where}'")
    if not names and number >= _MOST_UNNAMED:
        raise InputError(
            f"'{where}': class {words[0]} of classes without names",
            "name all classes in a YAML file or a classes.txt",
        )
    if number != int(number) or number < 0 or (names and number >= len(names)):
        hint = f"classes are numbered 0 to {len(names) - 1}" if names else "they are whole numbers"
        raise InputError(f"'{where}': there is no class {words[0]}", hint)
    if min(x, y, width, height) < 0 or max(x, y, width, height) > 1 + _SLACK:
        raise InputError(f"'{where}': a box lies outside of its image", _HINT)
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Box(corners, str(int(number)))
