"""Contiguous parts of a model, given by numbers or names: `middle:A-B`, `from:NAME`, `to:NAME`."""

from __future__ import annotations

from collections.abc import Sequence

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names


def middle_slice(argument: str, paths: Sequence[str], spec: str) -> list[str]:
    """The middle of a model.

    Args:
        argument: "" for the middle third, `A-B` for the A-th to the B-th of the paths (from 1,
            both included), or two names joined by a hyphen.
        paths: Layers with weights from input to output.
        spec: The whole spec, for messages.

    Returns:
        The paths in the middle, at least one.

    Raises:
        InputError: The bounds can't be read, or lie outside the model.
    """
    if not argument:
        return _middle_third(paths, spec)
    first, last = _bounds(argument, paths, spec)
    if not 1 <= first <= last <= len(paths):
        raise InputError(
            f"unfreeze '{spec}': the model's layers with weights are numbered 1 to {len(paths)}",
            "write middle:A-B with A up to B",
        )
    return list(paths[first - 1 : last])


def _middle_third(paths: Sequence[str], spec: str) -> list[str]:
    if not paths:
        raise InputError(f"unfreeze '{spec}' matches no layer with weights")
    first = len(paths) // 3
    return list(paths[first : max(first + 1, -(-2 * len(paths) // 3))])


def _bounds(argument: str, paths: Sequence[str], spec: str) -> tuple[int, int]:
    """Numbers (from 1) of the first and the last layer that `A-B` names."""
    hyphens = [i for i, character in enumerate(argument) if character == "-"]
    for i in hyphens:
        first, last = argument[:i], argument[i + 1 :]
        if first.isdecimal() and last.isdecimal():
            return int(first), int(last)
        if first in paths and last in paths:
            return paths.index(first) + 1, paths.index(last) + 1
    raise InputError(
        f"unfreeze '{spec}': '{argument}' is not a range of layers",
        "write middle:3-6, counted among the layers with weights from the input",
    )


def named_slice(word: str, name: str, paths: Sequence[str], spec: str) -> list[str]:
    """All paths from (or up to) the one that is named, itself included.

    A nested model's name stands for its first layer after `from`, its last after `to`.

    Args:
        word: "from" or "to".
        name: A layer's or nested model's path.
        paths: All layers from input to output.
        spec: The whole spec, for messages.

    Raises:
        InputError: There is no such layer.
    """
    places = [i for i, p in enumerate(paths) if p == name or p.startswith(f"{name}/")]
    if not places:
        raise InputError(
            f"unfreeze '{spec}': the model has no layer '{name}'", near_names(name, paths)
        )
    return list(paths[places[0] :] if word == "from" else paths[: places[-1] + 1])
