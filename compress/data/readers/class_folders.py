"""Class folders: which number each has, as the model's outputs are numbered."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

# Other names that people give to the folder of a split.
_NEAR_SPLITS = {
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "tests": "test",
    "trains": "train",
}
# Files that lie in folders of data and are no part of it.
_NO_DATA = ("thumbs.db", "desktop.ini", "classes.txt")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_MOST_LIST_BYTES = 100_000
_HINT = "name all classes in the order of the model's outputs with --classes or in a classes.txt"


SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val",
    "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip

# The files of each folder in a split's folder, by its name.
Inside = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class FileKind:
    """Files that class folders may hold.

    Attributes:
        name: What they are called, in the plural.
        endings: What their names end in, in small letters.
    """

    name: str
    endings: tuple[str, ...]


def files_below(folder: Path, kind: FileKind) -> list[Path]:
    """The files of a kind in a folder and the folders in it, as Keras reads them; none hidden."""
    found = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in kind.endings
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return sorted(found)


def check_folders(folder: Path) -> None:
    """Refuse a folder of which a part is not to be listed: it would be left out in silence.

    Raises:
        OSError: Names the part.
    """

    def fail(error: OSError) -> None:
        raise error

    for _, folders, _ in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]


def kinds_below(folder: Path, kinds: Sequence[FileKind]) -> set[FileKind]:
    """Which kinds of files a folder and the folders in it hold; hidden ones left out."""
    missing, found = list(kinds), set[FileKind]()
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        endings = {Path(name).suffix.lower() for name in files if name[0] != "."}
        here = [kind for kind in missing if not endings.isdisjoint(kind.endings)]
        found.update(here)
        missing = [kind for kind in missing if kind not in here]
        if not missing:
            break
    return found


def folder_splits(folder: Path) -> dict[str, Path]:
    """Folders by split: those named train, val and test, or "all" for a folder without them."""
    children = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    splits = {SPLIT_FOLDERS[n]: p for n, p in sorted(children.items()) if n in SPLIT_FOLDERS}
    return splits or {"all": folder}


def files_by_folder(folder: Path, kind: FileKind) -> Inside:
    """The files of each folder in a split's folder, by its name; hidden folders left out."""
    return {
        p.name: files_below(p, kind)
        for p in sorted(folder.iterdir())
        if p.is_dir() and not p.name.startswith((".", "__MACOSX"))
    }


def labelled_files(
    folder: Path, inside: Inside, classes: tuple[str, ...], kind: FileKind
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The files of a folder of class folders, and the class number of each.

    Args:
        folder: The folder.
        inside: The files of each class folder, by its name.
        classes: Names of the classes in the order of their numbers.
        kind: What the files are.

    Raises:
        InputError: There are none.
    """
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = inside.get(name, ())
        paths += map(str, files)
        labels += [label] * len(files)
    if not paths:
        raise InputError(f"'{folder}' holds no {kind.name}")
    return tuple(paths), tuple(labels)


def class_names(
    root: Path,
    folders: Mapping[Path, Inside],
    model: keras.Model,
    kind: FileKind,
    given: tuple[str, ...] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the classes in the order of their numbers.

    The order is the one given, else that of a `classes.txt` (a name in each line), else that of the
    folders' names as text, as Keras numbers them. Folders that are named by numbers keep them. What
    would leave a number in doubt is refused, never renumbered.

    Args:
        root: The data's folder.
        folders: The folder of each split, with what is inside.
        model: The Keras model, whose output says how many classes there are.
        kind: What the files are.
        given: The names in order.

    Returns:
        The names, those of classes without a folder included; and notes.

    Raises:
        InputError: There are no class folders, a name isn't known, or the order is in doubt.
    """
    found = [{name for name, files in inside.items() if files} for inside in folders.values()]
    here, first = set().union(*found), next(iter(folders))
    if not here:
        raise InputError(
            f"'{first}' holds no class folders with {kind.name}",
            f"{kind.name} end in {', '.join(kind.endings)}",
        )
    count, order = _classes_of(model), given or listed_classes(root)
    notes = _unread(root, folders, kind)
    if order:
        return _in_order(order, here, first, count), notes
    _refuse_other_list(root, here)
    if all(name.isdecimal() for name in here):
        names, numbering = _numbered(here, count, root)
        return names, (*numbering, *notes)
    if all(_NUMBER.fullmatch(name) for name in here):
        raise InputError(
            f"'{root}' has folders named by the numbers {', '.join(sorted(here)[:4])}, which are no"
            " class numbers",
            _HINT,
        )
    for folder, those in zip(folders, found, strict=True):
        odd = those - found[0]
        if odd:
            raise InputError(f"'{folder}' has class '{min(odd)}', '{first}' has not", _HINT)
    if count and len(here) != count:
        raise InputError(
            f"'{root}' has {len(here)} class folders, the model's output {count} classes", _HINT
        )
    return tuple(sorted(here)), (*_order_in_doubt(here), *notes)


def _order_in_doubt(here: set[str]) -> list[str]:
    """A note where folders have numbers in their names that are out of order as text."""
    in_text = sorted(here)
    by_number = sorted(here, key=lambda n: [(p.isdecimal(), int(p) if p.isdecimal() else 0, p)
                                            for p in re.split(r"(\d+)", n)])  # fmt: skip
    if in_text == by_number:
        return []
    shown = ", ".join(f"{number} {name}" for number, name in enumerate(in_text[:4]))
    return [
        f"classes are numbered as text, as Keras does: {shown}, …; --classes names another order"
    ]


def _unread(root: Path, folders: Mapping[Path, Inside], kind: FileKind) -> tuple[str, ...]:
    """Notes on what lies in a folder of class folders and is not read.

    Raises:
        InputError: A folder's name is nearly that of a split.
    """
    notes = []
    for folder in sorted(root.iterdir()) if root not in folders else []:
        if folder in folders or not folder.is_dir() or not files_below(folder, kind):
            continue
        if folder.name.lower() in _NEAR_SPLITS:
            meant = _NEAR_SPLITS[folder.name.lower()]
            raise InputError(f"'{folder}' is not read", f"did you mean '{meant}'?")
        if not folder.name.startswith((".", "__MACOSX")):
            notes.append(f"'{folder}' is not read: it is none of train, val and test")
    for folder, inside in folders.items():
        beside = [p for p in folder.iterdir() if p.suffix.lower() in kind.endings and p.is_file()]
        if any(p.name[0] != "." for p in beside):
            notes.append(
                f"{len(beside):,} {kind.name} in '{folder}' lie in no class folder: they are not"
                " read"
            )
        others = Counter(
            ending for name in inside for ending in _other_endings(folder / name, kind)
        )
        if others:
            endings = ", ".join(
                ending or "without an ending" for ending, _ in others.most_common(4)
            )
            notes.append(
                f"{others.total():,} other files in the class folders of '{folder}' are not read:"
                f" {endings}"
            )
    return tuple(notes)


def _other_endings(folder: Path, kind: FileKind) -> Iterator[str]:
    """The endings of files that aren't of a kind; hidden ones left out."""
    for _, inside, files in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".")]
        for name in files:
            ending = Path(name).suffix.lower()
            plain = name[0] != "." and name.lower() not in _NO_DATA
            if plain and ending not in kind.endings:
                yield ending


def _refuse_other_list(root: Path, here: set[str]) -> None:
    """Refuse a file beside the folders that lists the classes in another order than that of text.

    Raises:
        InputError: Names the file.
    """
    for path in sorted([*root.glob("*.txt"), *root.glob("*.json")]):
        if path.stat().st_size > _MOST_LIST_BYTES:
            continue
        listed = _names_in(path)
        if set(listed) == here and list(listed) != sorted(here):
            raise InputError(
                f"'{path}' lists the classes in an order that is not that of their names",
                "call it classes.txt, a name in each line, or pass --classes " + ",".join(listed),
            )


def _names_in(path: Path) -> list[str]:
    """Names that a file may list: its lines, or what a JSON document holds."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix == ".txt":
        return [
            re.sub(r"^\d+[\s:,]+", "", line.strip()) for line in text.splitlines() if line.strip()
        ]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(found, dict):
        pairs = found.items()
        if all(isinstance(number, int) for number in found.values()):  # numbers by name
            return [name for name, _ in sorted(pairs, key=lambda pair: pair[1])]
        found = [v for k, v in sorted(pairs, key=lambda p: int(p[0]) if p[0].isdecimal() else 0)]
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def subfolders(folders: Mapping[Path, Inside], kind: FileKind) -> list[str]:
    """A note on files that lie in subfolders of the class folders: they are read, as by Keras."""
    inside = [
        (folder / name, files) for folder, found in folders.items() for name, files in found.items()
    ]
    below = [(place, file) for place, files in inside for file in files if file.parent != place]
    if not below:
        return []
    (place, first), total = min(below), sum(len(files) for _, files in inside)
    name = first.relative_to(place.parent).parent
    return [
        f"{len(below):,} of {total:,} {kind.name} lie in subfolders of the class folders, such as"
        f" '{name}': they are read as {kind.name} of the class"
    ]


def empty_classes(folders: Mapping[Path, Inside], kind: FileKind) -> list[str]:
    """A note for each folder without files among the class folders, for it is no class."""
    return [
        f"'{folder / name}' holds no {kind.name}, so it is no class"
        for folder, found in folders.items()
        for name, files in found.items()
        if not files
    ]


def shown_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names as they are written: those of folders may not be UTF-8."""
    return tuple(os.fsencode(name).decode("utf-8", "replace") for name in names)


def _classes_of(model: keras.Model) -> int | None:
    """How many classes a model's first output tells apart; None where its shape doesn't say."""
    shape = model.outputs[0].shape
    if len(shape) != 2 or shape[-1] is None:
        return None
    return 2 if shape[-1] == 1 else int(shape[-1])


def listed_classes(root: Path) -> tuple[str, ...]:
    """The classes that a folder's `classes.txt` names, a line each; none without the file."""
    path = root / "classes.txt"
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _in_order(
    order: tuple[str, ...], here: set[str], first: Path, count: int | None
) -> tuple[str, ...]:
    twice = sorted({name for name in order if order.count(name) > 1})
    if twice:
        raise InputError(f"class '{twice[0]}' is named twice", "name each class once")
    unknown = sorted(here - set(order))
    if unknown:
        raise InputError(
            f"'{first.name}' has a folder '{unknown[0]}', which isn't among the classes"
            f" {', '.join(order)}",
            "name it too, or move the folder away",
        )
    if count is not None and len(order) != count:
        raise InputError(
            f"{len(order)} classes are named, the model's output has {count}",
            "name each class of the model once, in the order of its outputs",
        )
    return order


def _numbered(
    here: set[str], count: int | None, root: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders that are named by the numbers of their classes."""
    numbers = {int(name): name for name in here}
    low, high = min(numbers), max(numbers)
    all_there = low == 0 and high == len(here) - 1
    in_text = sorted(here)
    if (
        all_there
        and in_text == [numbers[n] for n in range(len(here))]
        and count in (None, len(here))
    ):
        return tuple(in_text), ()
    if len(numbers) < len(here) or count is None or high >= count:
        raise InputError(
            f"'{root}' has {len(here)} folders named by numbers from {low} to {high}, and the"
            f" model's output has {count or 'an unknown number of'} classes (0 to"
            f" {(count or 1) - 1})",
            _HINT,
        )
    if all_there:
        raise InputError(
            f"'{root}' has folders 0 to {high}: by number they are 0, 1, 2, …, and Keras numbers"
            f" them as text, {', '.join(in_text[:4])}, …",
            "say which order the model was trained with: --classes "
            + ",".join(in_text)
            + " (as text), or in the order of the numbers",
        )
    missing = [str(n) for n in range(count) if n not in numbers]
    names = tuple(numbers.get(n, str(n)) for n in range(count))
    return names, (
        f"'{root}' has no folder for class{'es' * (len(missing) > 1)} {', '.join(missing)}: the"
        " folders' names are taken as the classes' numbers",
    )
