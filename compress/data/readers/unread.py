"""Arrays and splits that are given and would not be read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgepress.compress.data.readers.class_folders import SPLIT_FOLDERS
from edgepress.compress.errors import InputError

# Names that look like an array of data: a side, perhaps a split, perhaps a tensor's name.
_SIDES = re.compile(
    r"^(x|y|inputs?|targets?|labels?|data|images?|samples?)(_.*|\d*)$", re.IGNORECASE
)
_WEIGHTS = re.compile(r"^(sample_?)?weights?(_.*)?$", re.IGNORECASE)
_SPLITS = {**SPLIT_FOLDERS, "dev": "val", "eval": "val", "evaluation": "val"}


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
    left = sorted(set(names) - set(read) - {"class_names"})
    for name in left:
        meant = _meant(name)
        if meant:
            raise InputError(f"{where}: '{name}' is not read", f"did you mean '{meant}'?")
    return (f"{where}: not read: {', '.join(left)}",) if left else ()


def _meant(name: str) -> str | None:
    """The name of an array or split that a name seems to stand for."""
    if name.lower() in _SPLITS:
        return _SPLITS[name.lower()]
    weights = _WEIGHTS.match(name)
    if weights:
        split = (weights[2] or "").strip("_").lower()
        meant = _SPLITS.get(split, split)
        return f"sample_weight_{meant}" if meant in _SPLITS.values() else "sample_weight"
    found = _SIDES.match(name)
    if not found:
        return None
    side = "y" if found[1].lower()[0] in "ytl" else "x"
    head, mark, tensor = found[2].partition("__")
    split = head.strip("_").lower()
    if split and split not in _SPLITS:
        return None
    return side + (f"_{_SPLITS[split]}" if split else "") + mark + tensor
