"""Setting samples aside: seeded, and stratified where the targets are classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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


def _can_stratify(labels: Array, size: int, count: int) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    return int(counts.min()) >= 2 and len(counts) <= min(count, size - count)
