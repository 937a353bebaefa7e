"""Arrays and splits that are given and would not be read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from edgepress.compress.data.readers.class_folders import SPLIT_FOLDERS
from edgepress.compress.errors import InputError

_SPLITS = {
    **SPLIT_FOLDERS, "dev": "val", "eval": "val", "evaluation": "val",
    "tr": "train", "va": "val", "te": "test", "holdout": "test", "hold_out": "test",
    "heldout": "test", "held_out": "test",
}  # fmt: skip
_SPLIT = f"(?P<split>{'|'.join(sorted(_SPLITS, key=len, reverse=True))})"
# Names that look like an array of data: a side and perhaps a split, in either order.
_SIDE = "(?P<side>xs?|ys?|inputs?|targets?|labels?|data|images?|samples?|features?)"
_ARRAYS = [re.compile(form) for form in (f"{_SIDE}_?{_SPLIT}?", f"{_SPLIT}_?{_SIDE}")]
# How much of a name a slip leaves.
_ALIKE = 0.7
_TARGETS = ("y", "t", "l")
_WEIGHTS = re.compile("(?P<before>.*?)_?(sample_?)?weights?_?(?P<behind>.*)")
# What isn't of samples, and how it is given.
_OPTIONS = {
    "class": "weights of classes are given as --class-weights 0=1,1=5",
    "pos": "weights of positive labels are given as --positive-weights 5",
    "positive": "weights of positive labels are given as --positive-weights 5",
    "loss": "weights of outputs are given as --loss-weight OUTPUT=0.5",
}
_GROUPS = re.compile("groups?(_ids?)?(_.*)?")
_CLASSES = ("classes", "classnames", "class_name", "label_names", "labelnames")


def check_names(names: Iterable[str], read: Iterable[str], where: str) -> tuple[str, ...]:
    """Refuse what was meant to be read and is not; name the rest.

    Args:
        names: Of everything that is given.
        read: Those that are read.
        where: What they come from, for messages.

    Returns:
        A note on what isn't read, where there is something.

    Raises:
        InputError: A name is nearly one that is read.
    """
    known, splits = set(read), set(_SPLITS.values())
    left = sorted(set(names) - known - {"class_names"})
    for name in left:
        if option := _option(name):
            raise InputError(f"{where}: '{name}' is not read", option)
        meant = _meant(name) or _misspelt(name, known)
        if meant and known <= splits and meant not in splits:
            raise InputError(
                f"{where}: '{name}' is not read beside splits",
                "give each split whole, as 'val': (x, y) or (x, y, sample_weight)",
            )
        if meant:
            raise InputError(f"{where}: '{name}' is not read", f"did you mean '{meant}'?")
    return (f"{where}: not read: {', '.join(left)}",) if left else ()


def check_samples(arrays: Mapping[str, Any], read: Collection[str], where: str) -> None:
    """Refuse arrays that are not read and hold samples, as their shape and name say: `x_extra`.

    Args:
        arrays: All that are given, by name.
        read: Names of those that are read.
        where: What they come from, for messages.

    Raises:
        InputError: Names one.
    """
    for side in ("x", "y"):
        forms = {_form(arrays[name]) for name in read if name.partition("_")[0] == side}
        for name in sorted(arrays.keys() - set(read)):
            if re.match(f"{side}[_0-9]", name.lower()) and _form(arrays[name]) in forms - {None}:
                raise InputError(
                    f"{where}: '{name}' is not read",
                    f"splits are named {side}_train, {side}_val and {side}_test, several inputs or"
                    f" outputs as {side}_train__NAME; leave out what isn't meant for this model",
                )


def _form(value: Any) -> tuple[Any, ...] | None:
    """The shape of a sample, and whether it is numbers; None of what isn't several samples."""
    if not hasattr(value, "__array__"):
        return None
    array = np.asarray(value)
    return (array.shape[1:], array.dtype.kind in "biuf") if array.ndim and len(array) > 1 else None


def _option(name: str) -> str:
    """How what a name stands for is given, where no array is read for it."""
    plain = name.lower().replace("-", "_")
    if _GROUPS.fullmatch(plain):
        return "groups are read of tables (--group-by COLUMN); of arrays give each split yourself"
    weights = _WEIGHTS.fullmatch(plain)
    return _OPTIONS.get(weights["before"], "") if weights else ""


def _meant(name: str) -> str | None:
    """The name of an array or split that a name seems to stand for."""
    head, mark, tensor = name.partition("__")
    # Of camelCase, too.
    plain = re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", head)).strip("_").lower()
    if plain in _SPLITS and not mark:
        return _SPLITS[plain]
    if plain in _CLASSES:
        return "class_names"
    if weights := _WEIGHTS.fullmatch(plain):
        near = [
            split
            for part in (weights["before"], weights["behind"]) if part
            for split in difflib.get_close_matches(part, _SPLITS, 1)
        ]  # fmt: skip
        if near or not (weights["before"] or weights["behind"]):
            return "sample_weight" + (f"_{_SPLITS[near[0]]}" if near else "") + mark + tensor
        return None
    found = next(filter(None, (form.fullmatch(plain) for form in _ARRAYS)), None)
    if found is None:
        return None
    side, split = ("y" if found["side"][0] in _TARGETS else "x"), found["split"]
    return side + (f"_{_SPLITS[split]}" if split else "") + mark + tensor


def _misspelt(name: str, read: Collection[str]) -> str | None:
    """The array that a name is a slip of, where that one isn't there: `x_tset`."""
    side, mark, split = name.partition("_")
    near = difflib.get_close_matches(split.lower(), _SPLITS, 1, _ALIKE)
    if side.lower() not in ("x", "y") or not (mark and near):
        return None
    meant = f"{side.lower()}_{_SPLITS[near[0]]}"
    return None if meant in read else meant
