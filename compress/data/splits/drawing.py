"""Setting samples aside: seeded, and stratified where the targets are classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError

Array = NDArray[Any]
# So many draws of groups are compared.
_DRAWS = 50


def split_indices(size: int, share: float, labels: Array | None, seed: int) -> tuple[Array, Array]:
    """Divide samples into those kept and those set aside.

    Args:
        size: Number of samples.
        share: Share set aside, between 0 and 1; at least one sample is.
        labels: (size,) classes, whose shares both parts keep, or None.
        seed: Draws which samples.

    Returns:
        Sorted indices of the kept and of the set-aside samples.
    """
    from sklearn.model_selection import train_test_split

    count = min(max(1, round(size * share)), size - 1)
    stratify = labels if labels is not None and _can_stratify(labels, size, count) else None
    kept, aside = train_test_split(
        np.arange(size), test_size=count, random_state=seed, stratify=stratify
    )
    return np.sort(kept), np.sort(aside)


def split_with_copies(
    groups: Array, share: float, labels: Array | None, seed: int, recordings: bool = False
) -> tuple[Array, Array] | None:
    """Divide samples so that equal ones are on one side.

    Args:
        groups: (size,) numbers from 0, alike where samples are.
        share: As for `split_indices`.
        labels: As for `split_indices`; of equal samples the first one's count.
        seed: Draws which samples.
        recordings: Whether samples are pictures, sounds and the like.

    Returns:
        As `split_indices`; None where no two are equal, or most are and they aren't recordings:
        then they are combinations of few values, which every split has.
    """
    sizes = np.bincount(groups)
    few = 2 * len(sizes) < len(groups) and not recordings
    if len(sizes) == len(groups) or few:
        return None
    firsts = np.unique(groups, return_index=True)[1]
    kinds = np.zeros(len(sizes), np.int64) if labels is None else labels[firsts]
    room = {kind: max(1, round(share * sizes[kinds == kind].sum())) for kind in np.unique(kinds)}
    aside = np.zeros(len(sizes), bool)
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[group] <= room[kinds[group]]:
            room[kinds[group]] -= sizes[group]
            aside[group] = True
    chosen = aside[groups]
    return (np.flatnonzero(~chosen), np.flatnonzero(chosen)) if 0 < chosen.mean() < 1 else None


def split_groups(
    groups: Array, share: float, labels: Array | None, seed: int
) -> tuple[Array, Array]:
    """Divide samples so that no group is on both sides.

    Of many draws of groups the one is taken that sets aside nearest to the share of every class.

    Args:
        groups: (size,) what each sample belongs to.
        share: As for `split_indices`.
        labels: As for `split_indices`.
        seed: Draws which groups.

    Raises:
        InputError: There is one group.
    """
    from sklearn.model_selection import GroupShuffleSplit

    if len(np.unique(groups)) < 2:
        raise InputError(
            f"all samples are of one group, '{groups[0]}', so no validation split can be set aside",
            "give one of its own",
        )
    kinds = (
        np.zeros(len(groups), np.int64)
        if labels is None
        else np.unique(labels, return_inverse=True)[1]
    )
    counts = np.bincount(kinds)
    draws = GroupShuffleSplit(_DRAWS, test_size=share, random_state=seed)

    def distance(drawn: tuple[Array, Array]) -> float:
        aside = np.bincount(kinds[drawn[1]], minlength=len(counts)) / counts
        return float(np.abs(aside - share).sum())

    kept, aside = min(draws.split(kinds, groups=groups), key=distance)
    return np.sort(kept), np.sort(aside)


def without_shared_rows(kept: Array, aside: Array, rows: Array) -> Array:
    """Those of the kept samples that hold no row of a sample that was set aside.

    Args:
        kept: Indices of samples.
        aside: Indices of the samples set aside.
        rows: (size, 2) first row, and the one behind the last, of each sample.
    """
    taken = np.zeros(int(rows.max()) + 1, np.int64)
    np.add.at(taken, rows[aside, 0], 1)
    np.add.at(taken, rows[aside, 1], -1)
    before = np.concatenate([[0], np.cumsum(np.cumsum(taken) > 0)])
    shared = before[rows[kept, 1]] > before[rows[kept, 0]]
    found: Array = kept[~shared]
    return found


def _can_stratify(labels: Array, size: int, count: int) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    return int(counts.min()) >= 2 and len(counts) <= min(count, size - count)
