"""Class folders: which number each has, as the model's outputs are numbered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

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
    count, order = _classes_of(model), given or _listed(root)
    if order:
        return _in_order(order, here, first), ()
    if all(name.isdecimal() for name in here):
        return _numbered(here, count, root)
    for folder, names in zip(folders, found, strict=True):
        odd = names - found[0]
        if odd:
            raise InputError(f"'{folder}' has class '{min(odd)}', '{first}' has not", _HINT)
    if count and len(here) != count:
        raise InputError(
            f"'{root}' has {len(here)} class folders, the model's output {count} classes", _HINT
        )
    return tuple(sorted(here)), ()


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


def _listed(root: Path) -> tuple[str, ...]:
    path = root / "classes.txt"
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _in_order(order: tuple[str, ...], here: set[str], first: Path) -> tuple[str, ...]:
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
