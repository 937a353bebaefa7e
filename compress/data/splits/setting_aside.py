"""Setting samples aside so that what belongs together stays on one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.splits.drawing import (
    split_groups,
    split_indices,
    split_with_copies,
    without_shared_rows,
)
from edgepress.compress.errors import InputError

Array = NDArray[Any]
# A chain of so many samples, each nearly the next one, and of this share of all, is no copying: so
# are tones of one pitch.
_MOST_ALIKE, _CHAINED = 20, 0.05


class Divisible(Protocol):
    """Samples that can be parted by their places."""

    @property
    def size(self) -> int:
        """Number of samples."""

    def labels(self) -> Array | None:
        """(samples,) class of each sample, where the targets are classes."""


@dataclass(frozen=True)
class Division:
    """Samples kept and set aside.

    Attributes:
        kept: Sorted indices of those that are trained on.
        aside: Sorted indices of the validation split.
        notes: What should be known of it, one line each.
    """

    kept: Array
    aside: Array
    notes: tuple[str, ...] = ()


def check_groups(sources: Mapping[str, Any]) -> None:
    """Refuse splits that share a group.

    Raises:
        InputError: Names the group.
    """
    seen: dict[str, str] = {}
    for split in ("train", "val", "test"):
        groups = getattr(sources.get(split), "groups", None)
        for group in () if groups is None else np.unique(groups):
            other = seen.setdefault(str(group), split)
            if other != split:
                raise InputError(
                    f"group '{group}' is in the {other} split and in the {split} split",
                    "move it to one of them",
                )


@dataclass(frozen=True)
class Copies:
    """Which samples are the same, or nearly.

    Attributes:
        groups: (size,) numbers from 0, alike where samples are.
        equal: How many samples are copies of an earlier one.
        near: How many others are nearly.
        recordings: Whether samples are pictures, sounds and the like, not rows of a table.
        such_as: What a near copy of such a sample is.
    """

    groups: Array
    equal: int
    near: int = 0
    recordings: bool = False
    such_as: str = ""

    def notes(self) -> list[str]:
        """What to say where they are kept on one side."""
        found = []
        if self.equal:
            found.append(
                f"{self.equal:,} samples are copies of others: equal ones are in the same split"
            )
        if self.near:
            found.append(
                f"{self.near:,} samples are nearly copies of others, as {self.such_as}: they are in"
                " the same split as those"
            )
        return found


def copies_of(
    digests: Sequence[bytes],
    pairs: Array,
    recordings: bool,
    such_as: str = "",
    certain: Array | None = None,
) -> Copies:
    """Samples grouped by what is equal or nearly.

    Args:
        digests: Of each sample, alike where samples are.
        pairs: (pairs, 2) places of samples that are nearly the same.
        recordings: Whether they are pictures, sounds and the like.
        such_as: What a near copy of such a sample is.
        certain: (pairs, 2) places of others, which belong together however many do.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    exact = np.unique(np.array(digests), return_inverse=True)[1]
    kinds = int(exact.max()) + 1

    def parts(joined: Array) -> tuple[int, Array]:
        edges = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), (kinds, kinds))
        count, of_kinds = connected_components(edges, directed=False)
        return int(count), of_kinds

    sure = exact[certain] if certain is not None else exact[pairs[:0]]
    count, of_kinds = parts(exact[pairs])
    chained = np.bincount(of_kinds).max() > max(_MOST_ALIKE, _CHAINED * kinds)
    if chained or len(sure):
        count, of_kinds = parts(sure if chained else np.concatenate([exact[pairs], sure]))
    return Copies(of_kinds[exact], len(exact) - kinds, kinds - count, recordings, such_as)


def set_aside(train: Divisible, copies: Copies | None, share: float, seed: int) -> Division:
    """Draw a validation split from a training split.

    Groups stay on one side, else equal samples do; windows that share rows with one that was set
    aside are left out of the training.

    Args:
        train: The source.
        copies: Which samples are the same, or None.
        share: Share that is set aside.
        seed: Draws it.
    """
    labels = train.labels()
    groups = getattr(train, "groups", None)
    if groups is not None:
        kept, aside = split_groups(groups, share, labels, seed)
        return Division(kept, aside, _of_groups(groups, kept, aside, labels))
    divided = copies and split_with_copies(copies.groups, share, labels, seed, copies.recordings)
    kept, aside = divided or split_indices(train.size, share, labels, seed)
    notes = copies.notes() if copies is not None and divided else []
    if copies is not None and copies.near and copies.recordings and not divided:
        notes.append(
            f"{copies.near:,} samples are nearly copies of others, as {copies.such_as}, and so many"
            " hang together that both splits have some: figures look better than they are; give"
            " splits of your own"
        )
    rows = getattr(train, "rows", None)
    if rows is not None:
        apart = without_shared_rows(kept, aside, rows)
        if len(apart) < len(kept):
            notes.append(
                f"{len(kept) - len(apart):,} of {len(kept):,} training windows share rows with the"
                " validation split and are left out; --group-by keeps recordings apart"
            )
        if not len(apart):
            raise InputError(
                "every training window shares rows with the validation split",
                "name what rows belong to with --group-by, or take a longer --step",
            )
        kept = apart
    return Division(kept, aside, tuple(notes))


def _of_groups(groups: Array, kept: Array, aside: Array, labels: Array | None) -> tuple[str, ...]:
    """What a division by groups gives."""
    number, of = len(np.unique(groups[aside])), len(np.unique(groups))
    notes = [
        f"{number} of {of} groups ({len(aside):,} of {len(groups):,} samples) are the validation"
        " split"
    ]
    if labels is not None:
        for name, places in (("training", kept), ("validation", aside)):
            missing = sorted(set(labels.tolist()) - set(labels[places].tolist()))
            if missing:
                notes.append(
                    f"no group of the {name} split has class {', '.join(map(str, missing))}: each"
                    " of its groups is needed on the other side; give splits of your own"
                )
    return tuple(notes)
