"""Class folders: which number each has, as the model's outputs are numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data.readers.images.folders import IMAGE_ENDINGS, images_below
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

_HINT = "name all classes in the order of the model's outputs with --classes or in a classes.txt"


# The images of each folder in a split's folder, by its name.
Inside = Mapping[str, Sequence[Path]]


def images_by_folder(folder: Path) -> Inside:
    """The images of each folder in a split's folder, by its name; hidden folders left out."""
    return {
        p.name: images_below(p)
        for p in sorted(folder.iterdir())
        if p.is_dir() and not p.name.startswith((".", "__MACOSX"))
    }


def class_names(
    root: Path, folders: Mapping[Path, Inside], model: keras.Model, given: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the classes in the order of their numbers.

    The order is the one given, else that of a `classes.txt` (a name in each line), else that of the
    folders' names as text, as Keras numbers them. Folders that are named by numbers keep them. What
    would leave a number in doubt is refused, never renumbered.

    Args:
        root: The data's folder.
        folders: The folder of each split, with what is inside.
        model: The Keras model, whose output says how many classes there are.
        given: The names in order.

    Returns:
        The names, those of classes without a folder included; and notes.

    Raises:
        InputError: There are no class folders, a name isn't known, or the order is in doubt.
    """
    found = [{name for name, images in inside.items() if images} for inside in folders.values()]
    here, first = set().union(*found), next(iter(folders))
    if not here:
        endings = ", ".join(IMAGE_ENDINGS)
        raise InputError(
            f"'{first}' holds no class folders with images", f"images end in {endings}"
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


def subfolders(folders: Mapping[Path, Inside]) -> list[str]:
    """A note on images that lie in subfolders of the class folders: they are read, as by Keras."""
    inside = [
        (folder / name, images)
        for folder, found in folders.items()
        for name, images in found.items()
    ]
    below = [
        (place, image) for place, images in inside for image in images if image.parent != place
    ]
    if not below:
        return []
    (place, first), total = min(below), sum(len(images) for _, images in inside)
    name = first.relative_to(place.parent).parent
    return [
        f"{len(below):,} of {total:,} images lie in subfolders of the class folders, such as"
        f" '{name}': they are read as images of the class"
    ]


def empty_classes(folders: Mapping[Path, Inside]) -> list[str]:
    """A note for each folder without images among the class folders, for it is no class."""
    return [
        f"'{folder / name}' holds no images, so it is no class"
        for folder, found in folders.items()
        for name, images in found.items()
        if not images
    ]


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
